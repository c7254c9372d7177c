"""Stepping one batch through a chain of stages: pure but for `place`, which hands out coordinates.

A chain has one head, which reads from the broker. What the head states as facts feeds the members that
consume those topics, in memory; what a member would write to its ingress lane goes through the head's
step again, in the same transaction. A single stage is a chain of one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluice_kit.stage.digest import outputs_digest
from sluice_kit.stage.model import (
    ArtifactPut,
    Batch,
    Coordinate,
    InputRange,
    Output,
    Record,
    Stage,
    TrailingOutput,
)

LANE_PREFIX = "ingress."
MAX_PASSES = 8

Place = Callable[[int, Sequence[Output]], list[Coordinate]]
"""`place(member_index, facts)` writes facts and returns where they stand, in order."""


Facts = tuple[list[Output], list[Coordinate]]
"""What one step stated, and where it stands."""


class ChainLoopError(RuntimeError):
    """Chained stages keep feeding one another; the topology is not a finite loop."""


@dataclass(slots=True)
class MemberRun:
    """What one member did with one batch.

    `trailing` is all it put out and goes into the digest; `written` is what goes to the broker, which in a
    chain leaves out what was handed to the head in memory.
    """

    stage: Stage
    overlay: Any
    inputs: list[InputRange] = field(default_factory=list)
    facts: list[Output] = field(default_factory=list)
    coordinates: list[Coordinate] = field(default_factory=list)
    trailing: list[TrailingOutput] = field(default_factory=list)
    written: list[TrailingOutput] = field(default_factory=list)
    artifacts: list[ArtifactPut] = field(default_factory=list)
    events: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)

    def digest(self) -> str:
        """The outputs digest of this member's batch."""
        return outputs_digest(self.facts, self.trailing, self.stage.tails)

    def resolved(self) -> list[Output]:
        """Trailing outputs with their coordinates written in."""
        coordinates = self.coordinates
        where = [out.known if out.fact is None else coordinates[out.fact] for out in self.written]
        tails = iter(self.stage.tails([at for at in where if at is not None]))
        return [
            Output(out.topic, out.key, out.value if at is None else out.value + next(tails))
            for out, at in zip(self.written, where, strict=True)
        ]


def step_member(run: MemberRun, index: int, batch: Batch, place: Place) -> Facts:
    """Step one member and place its facts; returns them with their coordinates."""
    result = run.stage.step(run.overlay, batch)
    coordinates = place(index, result.facts) if result.facts else []
    run.events += len(batch.records)
    run.quarantined += result.quarantined
    run.facts += result.facts
    run.coordinates += coordinates
    run.trailing += result.trailing
    run.written += result.trailing
    run.artifacts += result.artifacts
    return result.facts, coordinates


def as_records(facts: Facts, topics: Sequence[str]) -> list[Record]:
    """The facts on `topics` as the input of a chained member."""
    return [
        Record(*where, out.key, out.value) for out, where in zip(*facts, strict=True) if out.topic in topics
    ]


def run_chain(
    members: Sequence[Stage],
    batch: Batch,
    inputs: Sequence[InputRange],
    place: Place,
) -> list[MemberRun]:
    """Step `batch` through the chain. The first member is the head and owns `inputs`."""
    runs = [MemberRun(stage, stage.state.overlay()) for stage in members]
    head = runs[0]
    head.inputs = list(inputs)
    facts = step_member(head, 0, batch, place)
    for chain_pass in range(MAX_PASSES):
        chained: list[Record] = []
        for index, run in enumerate(runs[1:], start=1):
            fed = as_records(facts, run.stage.inputs)
            run.inputs = merge_ranges(run.inputs, ranges_of(fed))
            before = len(run.written)
            if fed or chain_pass == 0:  # once a batch, so that members see time pass
                step_member(run, index, Batch(batch.now, fed, batch.environment), place)
            fresh, run.written = run.written[before:], run.written[:before]
            for out in fresh:
                if out.topic.startswith(LANE_PREFIX):
                    chained.append(Record(out.topic, -1, -1, out.key, out.value))
                else:
                    run.written.append(out)
        if not chained:
            return runs
        facts = step_member(head, 0, Batch(batch.now, chained, batch.environment), place)
    raise ChainLoopError(
        f"{[stage.name for stage in members]} still feed one another after {MAX_PASSES} passes"
    )


def ranges_of(records: Sequence[Record]) -> list[InputRange]:
    """The offset range of each partition in `records`, in a stable order."""
    spans: dict[tuple[str, int], tuple[int, int]] = {}
    for record in records:
        where = (record.topic, record.partition)
        low, high = spans.get(where, (record.offset, record.offset))
        spans[where] = (min(low, record.offset), max(high, record.offset))
    return [
        InputRange(topic, partition, low, high + 1)
        for (topic, partition), (low, high) in sorted(spans.items())
    ]


def merge_ranges(left: Sequence[InputRange], right: Sequence[InputRange]) -> list[InputRange]:
    """One range a partition that covers both."""
    merged: dict[tuple[str, int], InputRange] = {(item.topic, item.partition): item for item in left}
    for item in right:
        seen = merged.get((item.topic, item.partition))
        merged[item.topic, item.partition] = (
            item
            if seen is None
            else InputRange(item.topic, item.partition, min(seen.start, item.start), max(seen.end, item.end))
        )
    return [merged[where] for where in sorted(merged)]


def positions_after(
    positions: Mapping[tuple[str, int], int], ranges: Sequence[InputRange]
) -> dict[tuple[str, int], int]:
    """Next offset of each partition once `ranges` are consumed."""
    after = dict(positions)
    for item in ranges:
        after[item.topic, item.partition] = item.end
    return after
