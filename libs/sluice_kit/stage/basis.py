"""The basis log: one record a batch, the offset store of a stage and the only record of its `now`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

import sluice_contracts as contracts
from sluice_kit.artifacts import Locator
from sluice_kit.places import Coordinate, Place
from sluice_kit.stage.errors import StageError
from sluice_kit.stage.model import InputRange
from sluice_kit.stage.range_reader import read_to_end

BASIS_EVENT_TYPE = "basis_record"
READ_TIMEOUT_SECONDS = 30.0
FIRST_WINDOW = 64
RECENT = 20_000
"""Offsets looked through for a checkpoint: several intervals of batches and their markers."""


@dataclass(frozen=True, slots=True)
class BasisRecord:
    """One batch, as it is logged.

    A record that repeats its predecessor's `batch_no` announces a checkpoint or a start and is no batch.
    """

    service: str
    shard: int
    batch_no: int
    inputs: Sequence[InputRange]
    now: int
    code_rev: str
    transactional_id: str
    outputs_digest: str
    outputs: Sequence[tuple[str, int, int, int]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    poison: Sequence[tuple[str, int, int, str]] = ()
    checkpoint: Locator | None = None
    events: int = 0
    chain: str | None = None
    runs_by_pass: Sequence[int] = ()
    """How many of `outputs` each pass of a chain's head made; told by the head of a chain."""

    def encode(self) -> bytes:
        """The record's bytes in the Confluent wire format."""
        return contracts.encode(
            BASIS_EVENT_TYPE,
            2,
            {
                "service": self.service,
                "shard": self.shard,
                "batch_no": self.batch_no,
                "inputs": [item._asdict() for item in self.inputs],
                "now": self.now,
                "code_rev": self.code_rev,
                "transactional_id": self.transactional_id,
                "outputs_digest": self.outputs_digest,
                "outputs": [
                    {"topic": topic, "partition": partition, "start": start, "count": count}
                    for topic, partition, start, count in self.outputs
                ],
                "environment": dict(self.environment),
                "poison": [
                    {"topic": topic, "partition": partition, "offset": offset, "error": error}
                    for topic, partition, offset, error in self.poison
                ],
                "checkpoint": None if self.checkpoint is None else self.checkpoint.model_dump(),
                "events": self.events,
                "chain": self.chain,
                "runs_by_pass": list(self.runs_by_pass),
            },
        )

    @classmethod
    def decode(cls, value: bytes | None) -> "BasisRecord":
        """Read a record back. Raises StageError when the basis log holds something else."""
        decoded = contracts.decode(value)
        if isinstance(decoded, contracts.DecodeFailure):
            raise StageError(f"basis record cannot be decoded: {decoded.code} {decoded.detail}")
        fields: dict[str, Any] = decoded.fields
        return cls(
            service=fields["service"],
            shard=fields["shard"],
            batch_no=fields["batch_no"],
            inputs=[InputRange(i["topic"], i["partition"], i["start"], i["end"]) for i in fields["inputs"]],
            now=fields["now"],
            code_rev=fields["code_rev"],
            transactional_id=fields["transactional_id"],
            outputs_digest=fields["outputs_digest"],
            outputs=[(o["topic"], o["partition"], o["start"], o["count"]) for o in fields["outputs"]],
            environment=fields["environment"],
            poison=[(p["topic"], p["partition"], p["offset"], p["error"]) for p in fields["poison"]],
            checkpoint=None if fields["checkpoint"] is None else Locator.model_validate(fields["checkpoint"]),
            events=fields["events"],
            chain=fields["chain"],
            runs_by_pass=fields.get("runs_by_pass", ()),
        )

    def passes(self) -> list[Sequence[tuple[str, int, int, int]]]:
        """`outputs` pass by pass."""
        ends = list(accumulate(self.runs_by_pass or [len(self.outputs)], initial=0))
        return [self.outputs[start:end] for start, end in pairwise(ends)]


def coordinate_runs(coordinates: Sequence[Coordinate]) -> list[tuple[str, int, int, int]]:
    """Run-length form of coordinates: per partition, in the order in which facts were placed.

    The partition of a fact follows from its key, and facts of one partition keep their order, so these
    runs and the facts are enough to recover every coordinate.
    """
    placed: dict[Place, list[int]] = defaultdict(list)
    for coordinate in coordinates:
        placed[coordinate[:2]].append(coordinate[2])
    return [
        (topic, partition, start, count)
        for (topic, partition), offsets in sorted(placed.items())
        for start, count in _spans(offsets)
    ]


def runs_of_passes(
    coordinates: Sequence[Coordinate], facts_by_pass: Sequence[int]
) -> tuple[list[tuple[str, int, int, int]], list[int]]:
    """Runs of each pass behind those of the one before, and how many each has; none told without passes."""
    if not facts_by_pass:
        return coordinate_runs(coordinates), []
    ends = accumulate(facts_by_pass, initial=0)
    passes = [coordinate_runs(coordinates[start:end]) for start, end in pairwise(ends)]
    return [run for runs in passes for run in runs], [len(runs) for runs in passes]


def _spans(offsets: list[int]) -> list[tuple[int, int]]:
    """(start, count) of each stretch without a gap."""
    if offsets == list(range(offsets[0], offsets[0] + len(offsets))):  # nearly always, and fast
        return [(offsets[0], len(offsets))]
    spans = [[offsets[0], 1]]
    for offset in offsets[1:]:
        if offset == spans[-1][0] + spans[-1][1]:
            spans[-1][1] += 1
        else:
            spans.append([offset, 1])
    return [(start, count) for start, count in spans]


def offsets_by_partition(runs: Sequence[tuple[str, int, int, int]]) -> dict[Place, Iterator[int]]:
    """For each partition an iterator over the offsets that its facts were given, in order."""
    spans: dict[Place, list[range]] = {}
    for topic, partition, start, count in runs:
        spans.setdefault((topic, partition), []).append(range(start, start + count))
    return {where: iter([offset for span in parts for offset in span]) for where, parts in spans.items()}


class BasisLog:
    """Reads one shard's basis partition with read_committed.

    Its consumer tells partition ends (`enable.partition.eof`).
    """

    def __init__(self, consumer: Consumer, topic: str, shard: int) -> None:
        self._consumer = consumer
        self._topic = topic
        self._shard = shard

    def last(self) -> tuple[int, BasisRecord] | None:
        """The newest committed record with its offset, or None for a log without batches.

        Raises StageError when the log cannot be read in time.
        """
        low, high = self._watermarks()
        window = FIRST_WINDOW
        while high > low:
            start = max(low, high - window)
            records = list(self._read(start, high))
            if records:
                return records[-1]
            if start == low:
                return None
            window *= 8
        return None

    def checkpoints(self) -> list[Locator]:
        """Checkpoints that recent records name, newest first; the two newest are kept by the store."""
        low, high = self._watermarks()
        found: dict[str, Locator] = {}
        for _, record in self._read(max(low, high - RECENT), high) if high > low else ():
            if record.checkpoint is not None:
                found.pop(record.checkpoint.uri, None)
                found[record.checkpoint.uri] = record.checkpoint
        return list(reversed(found.values()))

    def since(self, offset: int) -> list[tuple[int, BasisRecord]]:
        """Every committed record from `offset` on."""
        low, high = self._watermarks()
        return list(self._read(max(low, offset), high)) if high > offset else []

    def _watermarks(self) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, self._shard), timeout=READ_TIMEOUT_SECONDS
            )
        except KafkaException as error:
            raise StageError(f"basis log {self._topic}/{self._shard} cannot be read: {error}") from error
        return low, high

    def _read(self, start: int, end: int) -> Iterator[tuple[int, BasisRecord]]:
        for records in read_to_end(self._consumer, {(self._topic, self._shard): start}):
            for record in records:
                if record.offset >= end:  # a running stage writes on: what it wrote since is not asked for
                    return
                yield record.offset, BasisRecord.decode(record.value)
