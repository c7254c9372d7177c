"""A run as it stands on the bus: decisions, payments and snapshots, brought together in bounded memory.

Topics are partitioned by different keys and a run may be larger than memory, so what decides is spilled once
to files by event id, and each file holds a share that fits. Nothing but a scratch folder is written.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson
from confluent_kafka import Consumer

from sluice_contracts import Decoded, decode
from sluice_decisions import PostureInForce
from sluice_decisions.list_history import ListChange, ListHistory
from sluice_decisions.postures import Posture
from sluice_kit.artifacts import Locator
from sluice_kit.config import Wiring
from sluice_kit.replay import OffsetRange, ReplayBatch, ReplayError, replay_consumer_config, whole_topic
from sluice_kit.replay.reading import read_ranges_back
from sluice_kit.stage.basis import BasisRecord

DECISIONS: Final = "traffic.decision"
PAYMENTS: Final = "traffic.payment"
SNAPSHOTS: Final = "state.online_features.snapshot"
POSTURES: Final = "control.posture"
BUNDLES: Final = "control.bundle"
LISTS: Final = "control.list"
BASIS: Final = "basis.decision_fabric"
SHARE: Final = 25_000
"""Decisions that are held in memory at once, about."""
MOST_FILES: Final = 200

Fields = Mapping[str, Any]
Counted = Callable[[int], None]
Place = tuple[int, int]
"""Partition and offset."""
Row = tuple[str, str, Any]
"""Event id, kind (decision, payment, snapshot) and content."""


@dataclass(slots=True)
class Footing:
    """What steered the decisions of a run, by reference."""

    postures: dict[str, PostureInForce] = field(default_factory=dict)
    manifests: dict[str, Locator] = field(default_factory=dict)
    """Manifest of each bundle that decided, by the bundle's fingerprint."""
    lists: ListHistory = field(default_factory=lambda: ListHistory([]))


@dataclass(slots=True)
class Found:
    """What the decisions of the run name."""

    decisions: int = 0
    bundles: Counter[str | None] = field(default_factory=Counter)
    postures: set[str] = field(default_factory=set)
    feature_sets: set[str] = field(default_factory=set)
    worlds: set[str] = field(default_factory=set)

    def note(self, decision: Fields) -> None:
        """Take in what a decision names."""
        said = decision["payload"]
        self.decisions += 1
        self.bundles[said["bundle_hash"]] += 1
        self.worlds.add(decision["manifest_fingerprint"])
        if said["posture_event_id"] is not None:
            self.postures.add(said["posture_event_id"])


@contextmanager
def recorded_history(wiring: Wiring, principal: str, advance: Counted) -> Iterator[BusHistory]:
    """What stands on the bus, for as long as the block lasts."""
    consumer = Consumer(replay_consumer_config(wiring, principal))
    try:
        yield BusHistory(consumer, advance)
    finally:
        consumer.close()


class BusHistory:
    """Reads topics through, as a principal that may only read."""

    def __init__(self, consumer: Consumer, advance: Counted = lambda _count: None) -> None:
        self._consumer = consumer
        self._advance = advance
        self._read = 0

    def whole(self, topic: str) -> list[OffsetRange]:
        """Everything that a topic has now."""
        return whole_topic(self._consumer, topic)

    def events(
        self,
        topic: str,
        run: tuple[str, str] | None = None,
        ranges: list[OffsetRange] | None = None,
        *,
        naming: str | None = None,
    ) -> Iterator[Fields]:
        """Fields of every committed event that can be decoded, of one (tenant, run) where given.

        `naming`: only events that hold this text, such as the id of an event.
        """
        marks = [mark.encode() for mark in (None if run is None else run[1], naming) if mark is not None]
        for batch in self.batches(topic, ranges):
            for value in batch.values:
                if value is None or not all(mark in value for mark in marks):
                    continue
                found = decode(value)
                if not isinstance(found, Decoded):
                    continue
                fields = found.fields
                if run is None or (fields["tenant"], fields["run_id"]) == run:
                    yield fields

    def batches(self, topic: str, ranges: list[OffsetRange] | None = None) -> Iterator[ReplayBatch]:
        """Every batch of a topic, partition by partition, up to where it ends now."""
        for one in self.whole(topic) if ranges is None else ranges:
            for start in range(one.start, one.end, _STRETCH):
                held: list[ReplayBatch] = []
                stretch = one._replace(start=start, end=min(start + _STRETCH, one.end))
                read_ranges_back(self._consumer, [stretch], held.append)
                self._read += stretch.end - stretch.start
                self._advance(self._read)
                yield from held


_STRETCH: Final = 20_000
"""Offsets that are read ahead of who uses them."""


class Spill:
    """Rows in files by event id: the rows of one event stand in one file."""

    def __init__(self, folder: Path, files: int) -> None:
        self._paths = [folder / f"part-{number}.jsonl" for number in range(files)]
        self._files: list[BinaryIO] = [path.open("wb") for path in self._paths]

    def put(self, event_id: str, *row: Any) -> None:
        """One row about an event."""
        at = zlib.crc32(event_id.encode()) % len(self._files)
        self._files[at].write(orjson.dumps([event_id, *row], option=orjson.OPT_APPEND_NEWLINE))

    def parts(self) -> Iterator[Iterator[list[Any]]]:
        """The rows, file by file, in the order in which they were put; a file is gone once it was read."""
        for path, file in zip(self._paths, self._files, strict=True):
            file.close()
            with path.open("rb") as lines:
                yield map(orjson.loads, lines)
            path.unlink()

    def close(self) -> None:
        """Close what is still open."""
        for file in self._files:
            file.close()


def spill_run(history: BusHistory, run: tuple[str, str], folder: Path) -> tuple[Spill, Found]:
    """Spill decisions, payments and snapshots of a (tenant, run). Raises ReplayError RUN_NOT_FOUND."""
    ranges = history.whole(DECISIONS)
    total = sum(one.end - one.start for one in ranges)
    spill = Spill(folder, max(1, min(MOST_FILES, total // SHARE)))
    found = Found()
    for fields in history.events(DECISIONS, run, ranges):
        found.note(fields)
        spill.put(*decision_row(fields))
    if not found.decisions:
        spill.close()
        raise ReplayError("RUN_NOT_FOUND", f"no decision of run {run[1]}, tenant {run[0]}, on {DECISIONS}")
    for fields in history.events(PAYMENTS, run):
        spill.put(*payment_row(fields))
    for fields in history.events(SNAPSHOTS, run):
        found.feature_sets.add(fields["feature_set"]["hash"])
        spill.put(*snapshot_row(fields))
    return spill, found


def footing_of(history: BusHistory, found: Found) -> Footing:
    """The postures and bundles that the decisions name, and the lists as they changed."""
    footing = Footing()
    for fields in history.events(POSTURES):
        if fields["event_id"] in found.postures:
            said = fields["payload"]
            footing.postures[fields["event_id"]] = PostureInForce(
                Posture(said["posture"]), frozenset(said["capabilities"]), said["valid_until"]
            )
    for fields in history.events(BUNDLES):
        said = fields["payload"]
        if said["fingerprint"]["hash"] in found.bundles:
            footing.manifests[said["fingerprint"]["hash"]] = Locator.model_validate(said["manifest"])
    footing.lists = ListHistory(_list_changes(history))
    return footing


def _list_changes(history: BusHistory) -> list[ListChange]:
    """Changes of lists, each from the time of the batch in which the decision fabric took it in."""
    changes: dict[Place, Fields] = {}
    for batch in history.batches(LISTS):
        for message, value in zip(batch.messages, batch.values, strict=True):
            read = decode(value)
            if isinstance(read, Decoded):
                changes[batch.partition, message.offset()] = read.fields
    since = _taken_in(history, changes) if changes else {}
    return [
        ListChange(
            since[place],
            fields["tenant"],
            fields["payload"]["list"],
            fields["payload"]["entry"],
            fields["payload"]["operation"] != "REMOVE",
        )
        for place, fields in changes.items()
        if place in since
    ]


def _taken_in(history: BusHistory, places: Mapping[Place, Fields]) -> dict[Place, int]:
    """The `now` of the batch in which the decision fabric read each place of the list topic."""
    since: dict[Place, int] = {}
    for batch in history.batches(BASIS):
        for value in batch.values:
            record = BasisRecord.decode(value)
            taken = (one for one in record.inputs if one.topic == LISTS)
            read = ((one.partition, offset) for one in taken for offset in range(one.start, one.end))
            for place in read:
                if place in places:
                    since.setdefault(place, record.now)
    return since


def decision_row(fields: Fields) -> Row:
    """What is kept of a decision; `recorded_cases` reads it in this order."""
    said = fields["payload"]
    return (
        said["subject_event_id"],
        "decision",
        [
            said["outcome"],
            said["mode"],
            said["reason_codes"],
            said["score_ppm"],
            said["bundle_hash"],
            said["snapshot_hash"],
            said["posture_event_id"],
            said["decided_at"],
            said["deadline"],
        ],
    )


def payment_row(fields: Fields) -> Row:
    """What is kept of a payment."""
    return fields["event_id"], "payment", fields["payload"]


def snapshot_row(fields: Fields) -> Row:
    """What is kept of a snapshot: the fields of a SnapshotView in their order."""
    return (
        fields["event_id"],
        "snapshot",
        [
            fields["values"],
            fields["missing"],
            fields["feature_set"]["hash"],
            fields["snapshot_hash"],
            fields["graph_version"],
            bool(fields["degraded"]),
        ],
    )
