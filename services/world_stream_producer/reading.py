"""Rows of a plan, framed, in stream order, from any row on; no row of a file before its digest matched."""

from collections.abc import Iterator

import pyarrow as pa

from services.world_stream_producer.core import StreamedOutput, StreamPlan
from services.world_stream_producer.framing import Framed, OutputFramer
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
    merged = merge_by_time(
        [
            _output_rows(world, output, OutputFramer(plan, output, producer), 0, batch_rows)
            for output in plan.outputs
        ]
    )
    yield from _skipping(merged, start_row)


def _output_rows(
    world: World, output: StreamedOutput, framer: OutputFramer, start_row: int, batch_rows: int
) -> Iterator[Framed]:
    batches: Iterator[pa.RecordBatch] = iter_batches(world, output.output_id, start_row, batch_rows)
    for batch in batches:
        yield framer.frame(batch)


def _skipping(stream: Iterator[Framed], rows: int) -> Iterator[Framed]:
    for framed in stream:
        if rows >= len(framed.values):
            rows -= len(framed.values)
            continue
        yield Framed(framed.values[rows:], framed.times[rows:]) if rows else framed
        rows = 0


def _check_output(world: World, planned: StreamedOutput) -> None:
    """The manifest that is read must list the very files that the facts view listed."""
    output = world.manifest.output(planned.output_id)
    listed = [(f"{world.uri}/{file.path}", str(file.digest), file.rows) for file in output.files]
    wanted = [(file.uri, file.digest, file.rows) for file in planned.files]
    if listed != wanted:
        raise DigestMismatch(
            f"{world.uri} output {planned.output_id}", f"the files of the facts view: {wanted}", str(listed)
        )
