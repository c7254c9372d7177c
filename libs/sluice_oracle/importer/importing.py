"""Import: a user's file becomes an unsealed world, every row accounted for."""

from __future__ import annotations

import collections.abc as cabc
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from sluice_kit.artifacts import Digest
from sluice_oracle.columns import (
    LABEL_EVENT_SCHEMA,
    LABEL_EVENTS,
    LABEL_SCHEMA,
    PAYMENT_SCHEMA,
    OutputWriter,
)
from sluice_oracle.draft import DraftOutput, WorldDraft
from sluice_oracle.importer.converting import BadRow, ConvertedBatch, Reason, convert
from sluice_oracle.importer.labelling import label_events
from sluice_oracle.importer.mapping import Mapping
from sluice_oracle.importer.ordering import ExternalSort, OutOfOrder, TimeOrdered
from sluice_oracle.importer.rejects import RejectsFile
from sluice_oracle.importer.sources import Source, open_source
from sluice_oracle.keys import SeenKeys
from sluice_oracle.manifest import Engine, Role

IMPORTER_NAME = "sluice-import"
IMPORTER_VERSION = f"1.1.0-pyarrow{pa.__version__}"
REJECTS_NAME = "rejects.ndjson"

Progress = cabc.Callable[[int, int | None], None]
"""Called with rows read and rows in all (None while unknown)."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An unsealed world was written. `read` = `written` + `rejected`."""

    draft: WorldDraft
    read: int
    written: int
    rejected: int
    reasons: dict[str, int]
    rejects_path: Path


@dataclass(frozen=True, slots=True)
class ImportRefused:
    """No world was made; `why` says what to do, the rejects file tells row by row."""

    why: str
    read: int
    rejected: int
    reasons: dict[str, int]
    rejects_path: Path


def _no_progress(done: int, total: int | None) -> None:
    del done, total


def import_world(
    path: Path,
    mapping: Mapping,
    folder: Path,
    *,
    max_rejects: float = 0.0,
    sort: bool = False,
    progress: Progress = _no_progress,
) -> Imported | ImportRefused:
    """Map a Parquet or CSV file onto the payment contract into a new or empty `folder`, in bounded memory.

    Rows that break the mapping or the contract go to `rejects.ndjson` with their number and reasons. More
    than the share `max_rejects` (0..1) of them refuses the import, as does an input out of time order
    without `sort`; of a refused import only that file stays.

    Memory is a few batches plus 8 bytes a row (keys already seen), a million rows more with `sort`, and with
    labels whose observed time is mapped.
    Raises SourceError (unreadable file, missing columns), FileExistsError (folder in use).
    """
    source = open_source(path, mapping)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; import into a folder of its own")
    with RejectsFile(folder / REJECTS_NAME, source.unit) as rejects:
        work = _Import(source, mapping, rejects, max_rejects)
        ordering = ExternalSort() if sort else TimeOrdered(source.unit)
        try:
            files = work.write(folder, ordering, progress)
            problem = work.problem()
        except OutOfOrder as error:
            problem = str(error)
    if problem:
        for output_id in ("payments", "labels", LABEL_EVENTS):
            shutil.rmtree(folder / output_id, ignore_errors=True)
        return work.refused(problem)
    draft = _draft(source, mapping, files, work)
    draft.save(folder)
    return Imported(draft, work.read, work.written, rejects.rows, dict(rejects.reasons), rejects.path)


class _Import:
    """The state of one import: counts, keys seen, labels that wait for their order."""

    def __init__(self, source: Source, mapping: Mapping, rejects: RejectsFile, max_rejects: float) -> None:
        self.source = source
        self.mapping = mapping
        self.rejects = rejects
        self.max_rejects = max_rejects
        self.read = 0
        self.written = 0
        self._keys = SeenKeys()
        # a constant delay keeps the payments' order; times of their own need not
        own_times = mapping.labels is not None and mapping.labels.observed_time is not None
        self._label_order = ExternalSort() if own_times else TimeOrdered("label")

    def write(
        self, folder: Path, ordering: TimeOrdered | ExternalSort, progress: Progress
    ) -> dict[str, list[str]]:
        """Read, convert, order and write everything; the files of each output."""
        with ExitStack() as stack:
            stack.callback(ordering.close)
            stack.callback(self._label_order.close)
            writers = {"payments": OutputWriter(folder, "payments", PAYMENT_SCHEMA, "row_key")}
            if self.mapping.labels is not None:
                writers["labels"] = OutputWriter(folder, "labels", LABEL_SCHEMA, "row_key")
                writers[LABEL_EVENTS] = OutputWriter(
                    folder, LABEL_EVENTS, LABEL_EVENT_SCHEMA, "row_key", empty_file=False
                )
            for writer in writers.values():
                stack.enter_context(writer)
            for rows, numbers in self._good_rows():
                for ordered in ordering.add(rows, numbers):
                    self._put(ordered, writers)
                progress(self.read, self.source.rows)
            for ordered in ordering.finish():
                self._put(ordered, writers)
                progress(self.read, self.source.rows)
            for labels in self._label_order.finish():
                writers[LABEL_EVENTS].write(labels)
        return {output_id: writer.names for output_id, writer in writers.items() if writer.names}

    def _good_rows(self) -> cabc.Iterator[tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
        for batch in self.source.batches(self.mapping):
            for row in batch.malformed:
                self.rejects.add(BadRow(row.number, (Reason("row", row.reason, row.text[:80]),)))
            converted = convert(batch, self.mapping)
            repeated = self._keys.repeated(converted.rows.column("row_key"))
            bad = [*converted.bad, *_repeats(converted, repeated)]
            for entry in sorted(bad, key=lambda entry: entry.number):
                self.rejects.add(entry)
            self.read += batch.columns.num_rows + len(batch.malformed)
            yield (
                pa.Table.from_batches([converted.rows.filter(pa.array(~repeated))]),
                converted.numbers[~repeated],
            )

    def _put(self, rows: pa.Table, writers: dict[str, OutputWriter]) -> None:
        writers["payments"].write(rows.select(PAYMENT_SCHEMA.names))
        if self.mapping.labels is not None:
            writers["labels"].write(rows.select(LABEL_SCHEMA.names))
            for batch in rows.to_batches():
                self._put_labels(label_events(batch, self.mapping.labels.traffic), writers[LABEL_EVENTS])
        self.written += rows.num_rows

    def _put_labels(self, labels: pa.RecordBatch, writer: OutputWriter) -> None:
        numbers = np.arange(labels.num_rows)
        for ordered in self._label_order.add(pa.Table.from_batches([labels]), numbers):
            writer.write(ordered)

    def problem(self) -> str:
        """Why the import may not become a world; '' when it may."""
        if self.read == 0:
            return f"{self.source.path} has no rows"
        share = self.rejects.rows / self.read
        if share > self.max_rejects:
            return (
                f"{self.rejects.rows} of {self.read} rows were rejected ({share:.3%}), allowed are "
                f"{self.max_rejects:.3%}; see {self.rejects.path}, mend the input or mapping, or accept them "
                f"with --max-rejects {min(1.0, share * 1.01):.4f}"
            )
        return "" if self.written else "every row was rejected"

    def refused(self, why: str) -> ImportRefused:
        """The refusal with the counts so far."""
        return ImportRefused(why, self.read, self.rejects.rows, dict(self.rejects.reasons), self.rejects.path)


def _repeats(
    converted: ConvertedBatch, repeated: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> cabc.Iterator[BadRow]:
    for row in np.flatnonzero(repeated).tolist():
        key = str(converted.rows.column("row_key")[row].as_py())
        yield BadRow(int(converted.numbers[row]), (Reason("row_key", "repeats an earlier row", key),))


def _draft(source: Source, mapping: Mapping, files: dict[str, list[str]], work: _Import) -> WorldDraft:
    digest = Digest.of_file(source.path)
    outputs = [
        DraftOutput(
            output_id="payments",
            role=Role.BUSINESS_TRAFFIC,
            event_type=mapping.event_type,
            primary_key="row_key",
            files=tuple(files["payments"]),
        )
    ]
    if "labels" in files:
        outputs.append(
            DraftOutput(
                output_id="labels",
                role=Role.TRUTH,
                primary_key="row_key",
                files=tuple(files["labels"]),
                references={"row_key": "payments"},
            )
        )
    if LABEL_EVENTS in files:
        same_key = mapping.columns["payment_id"] == mapping.primary_key
        outputs.append(
            DraftOutput(
                output_id=LABEL_EVENTS,
                role=Role.BUSINESS_TRAFFIC,
                event_type="label",
                primary_key="row_key",
                files=tuple(files[LABEL_EVENTS]),
                references={"payment_id": "payments"} if same_key else {},
            )
        )
    return WorldDraft(
        engine=Engine(name=IMPORTER_NAME, version=IMPORTER_VERSION),
        scenario_id=mapping.scenario_id,
        parameters={
            "mapping": mapping.model_dump(mode="json"),
            "source": {"format": source.format, "digest": digest.model_dump()},
        },
        outputs=tuple(outputs),
        notes={
            "source_name": source.path.name,
            "rows_read": work.read,
            "rows_written": work.written,
            "rows_rejected": work.rejects.rows,
            "reject_reasons": dict(sorted(work.rejects.reasons.items())),
            "rejects_digest": Digest.of_file(work.rejects.path).model_dump(),
        },
    )
