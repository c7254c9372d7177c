"""Stepping one batch through a chain of stages: pure but for `place`, which hands out coordinates.

A chain has one head, which reads from the broker. The facts of the head and of earlier members feed the
members that consume those topics, in memory; what a member would write to a lane that the head reads goes
through the head's step again, in the same transaction. A single stage is a chain of one.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluice_contracts.topics import EVENT_BUS_CLASSES
from sluice_kit.stage.batching import arranged
from sluice_kit.stage.digest import outputs_digest
from sluice_kit.stage.errors import ChainOutputError
from sluice_kit.stage.landing import Landing
from sluice_kit.stage.model import (
    ArtifactPut,
    Batch,
    Coordinate,
    InputRange,
    Output,
    Record,
    Stage,
    StepResult,
    TrailingOutput,
)

MAX_PASSES = 8
BUS_PREFIXES = tuple(f"{cls}." for cls in EVENT_BUS_CLASSES)

Place = Callable[[int, Sequence[Output]], list[Coordinate]]
"""`place(member_index, facts)` writes facts and returns where they stand, in order."""


class ChainLoopError(RuntimeError):
    """Chained stages keep feeding one another; the topology is not a finite loop."""


@dataclass(slots=True)
class MemberRun:
    """What one member did with one batch.

    `trailing` is all it put out and goes into the digest; `written` is what goes to the broker, which in a
    chain leaves out what was handed to the head in memory. `landing` is set once it was written.
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
    landing: Landing | None = None

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

    def take(self, result: StepResult, coordinates: Sequence[Coordinate]) -> None:
        """Add what one step put out; a chained head, and what it feeds, step more than once a batch."""
        self.facts += result.facts
        self.coordinates += coordinates
        self.trailing += result.trailing
        self.artifacts += result.artifacts
        self.quarantined += result.quarantined


def run_chain(
    members: Sequence[Stage],
    batch: Batch,
    inputs: Sequence[InputRange],
    place: Place,
) -> list[MemberRun]:
    """Step `batch` through the chain. The first member is the head and owns `inputs`.

    Each pass goes through the members in their order. The first steps all of them, so that they see time
    pass; the later ones, which bring back what members had for the head, only those that are fed.
    Raises ChainOutputError, ChainLoopError.
    """
    runs = [MemberRun(stage, stage.state.overlay()) for stage in members]
    head = runs[0]
    head.inputs = list(inputs)
    consumed = [frozenset(run.stage.inputs) for run in runs]
    for chain_pass in range(MAX_PASSES):
        stated, handed = _step(runs, 0, batch, place)
        for index, run in enumerate(runs[1:], start=1):
            topics = consumed[index]
            fed = [record for record in stated if record.topic in topics]
            run.inputs = merge_ranges(run.inputs, ranges_of(fed))
            if fed or chain_pass == 0:
                fed_batch = Batch(batch.now, arranged(run.stage, fed), batch.environment)
                facts, for_head = _step(runs, index, fed_batch, place)
                stated += facts
                handed += for_head
        if not handed:
            return runs
        batch = Batch(batch.now, arranged(head.stage, handed), batch.environment)
    raise ChainLoopError(
        f"{[stage.name for stage in members]} still feed one another after {MAX_PASSES} passes"
    )


def _step(
    runs: Sequence[MemberRun], index: int, batch: Batch, place: Place
) -> tuple[list[Record], list[Record]]:
    """Step one member and place its facts. Returns what later members are fed with, and what the head is."""
    run = runs[index]
    try:
        result = run.stage.step(run.overlay, batch)
    except Exception as error:
        error.add_note(f"raised by the step of {run.stage.name}")
        raise
    if len(runs) > 1:
        _check_outputs([other.stage for other in runs], index, result)
    coordinates = place(index, result.facts) if result.facts else []
    run.events += len(batch.records)
    run.facts += result.facts
    run.coordinates += coordinates
    run.trailing += result.trailing
    run.artifacts += result.artifacts
    run.quarantined += result.quarantined
    lanes = frozenset(runs[0].stage.inputs if index else ())
    run.written += [out for out in result.trailing if out.topic not in lanes]
    if len(runs) == 1:
        return [], []
    stated = zip(result.facts, coordinates, strict=True)
    return (
        [Record(*where, fact.key, fact.value) for fact, where in stated],
        [Record(out.topic, -1, -1, out.key, out.value) for out in result.trailing if out.topic in lanes],
    )


def _check_outputs(members: Sequence[Stage], index: int, result: StepResult) -> None:
    """Hold one step's outputs against the rules of a chain. Raises ChainOutputError naming rule and topic."""
    name = members[index].name
    facts = {fact.topic for fact in result.facts}
    trailing = {out.topic for out in result.trailing}
    for topic in sorted(facts | trailing) if index else ():
        if topic.startswith(BUS_PREFIXES):
            raise ChainOutputError(
                f"{name} addresses {topic}: only the head of a chain ({members[0].name}) writes the event "
                f"bus; put a trailing output on the lane ingress.{name} instead"
            )
    for position, other in enumerate(members):
        missed = (trailing if position else set()) | (facts if position <= index else set())
        for topic in sorted(missed & set(other.inputs)):
            raise ChainOutputError(
                f"{name} puts out {topic}, but {other.name}, which reads it, would not be fed with it: "
                "in a chain only facts are fed, and only to members behind the one that states them"
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
