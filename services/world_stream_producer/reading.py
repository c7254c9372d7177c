"""Rows of a plan, framed, in stream order, from any row on; no row of a file before its digest matched."""

from collections.abc import Iterator

import pyarrow as pa

from services.world_stream_producer.core import StreamedOutput, StreamPlan
from services.world_stream_producer.framing import TIME_COLUMN, Framed, OutputFramer, row_times
from services.world_stream_producer.merging import merge_by_time
from sluice_kit.artifacts import ArtifactStore, DigestMismatch, Locator
from sluice_oracle import World, iter_batches, load_world


def framed_rows(
    plan: StreamPlan, oracle: ArtifactStore, start_row: int, *, batch_rows: int, producer: str
) -> Iterator[Framed]:
    """Yield the plan's rows from `start_row` on, lazily.

    Raises DigestMismatch, ArtifactMissing, StoreUnavailable, ColumnarError; ValueError when the world is not
    the one that was planned.
    """
    world = load_world(oracle, Locator.load(plan.world_manifest))
    for output in plan.outputs:
        _check_output(world, output)
    if len(plan.outputs) == 1:
        framer = OutputFramer(plan, plan.outputs[0], producer)
        yield from _output_rows(world, plan.outputs[0], framer, start_row, batch_rows)
        return
    starts = _starts(world, plan, start_row) if start_row else [0] * len(plan.outputs)
    yield from merge_by_time(
        [
            _output_rows(world, output, OutputFramer(plan, output, producer), start, batch_rows)
            for output, start in zip(plan.outputs, starts, strict=True)
        ]
    )


def _starts(world: World, plan: StreamPlan, start_row: int) -> list[int]:
    """How many rows of each output are among the first `start_row` of the merged stream.

    It merges their times alone, a fraction of the work of framing them; outputs are in time order, as their
    gates say, so that merging from here on gives the rest of the stream.
    """
    counts, left = [0] * len(plan.outputs), start_row
    streams = [_numbered_times(world, output, number) for number, output in enumerate(plan.outputs)]
    for merged in merge_by_time(streams):
        before = merged.values[:left]
        for number in range(len(counts)):
            counts[number] += before.count(_mark(number))
        left -= len(before)
        if left == 0:
            break
    return counts


def _numbered_times(world: World, output: StreamedOutput, number: int) -> Iterator[Framed]:
    """An output's times, each with the output's number for a message."""
    for batch in iter_batches(world, output.output_id, columns=[TIME_COLUMN]):
        times = row_times(batch)
        yield Framed([_mark(number)] * len(times), times)


def _mark(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _output_rows(
    world: World, output: StreamedOutput, framer: OutputFramer, start_row: int, batch_rows: int
) -> Iterator[Framed]:
    batches: Iterator[pa.RecordBatch] = iter_batches(world, output.output_id, start_row, batch_rows)
    for batch in batches:
        yield framer.frame(batch)


def _check_output(world: World, planned: StreamedOutput) -> None:
    """The manifest that is read must list the very files that the facts view listed."""
    output = world.manifest.output(planned.output_id)
    listed = [(f"{world.uri}/{file.path}", str(file.digest), file.rows) for file in output.files]
    wanted = [(file.uri, file.digest, file.rows) for file in planned.files]
    if listed != wanted:
        raise DigestMismatch(
            f"{world.uri} output {planned.output_id}", f"the files of the facts view: {wanted}", str(listed)
        )
