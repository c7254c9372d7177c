"""Stepping one batch through a chain of stages: pure but for `place`, which hands out coordinates.

A chain has one head, which reads from the broker. The facts of the head and of earlier members feed the
members that consume those topics, in memory; what a member would write to a lane that the head reads goes
through the head's step again, in the same transaction. A single stage is a chain of one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import add, itemgetter
from typing import Any, Final, cast

from sluice_contracts.topics import EVENT_BUS_CLASSES
from sluice_kit.places import Coordinate, Place
from sluice_kit.stage.batching import OFFSET, arranged, by_partition
from sluice_kit.stage.digest import outputs_digest
from sluice_kit.stage.errors import ChainOutputError
from sluice_kit.stage.landing import Landing
from sluice_kit.stage.model import (
    ArtifactPut,
    Batch,
    InputRange,
    Output,
    Record,
    Stage,
    StepResult,
    TrailingOutput,
)

MAX_PASSES = 8
TOPIC = itemgetter(Output._fields.index("topic"))
_AS_OUTPUT: Final = cast("Callable[[Sequence[Any]], Output]", partial(tuple.__new__, Output))
"""Without the function that a named tuple puts in front: there are millions."""
_CHECKED: Final = 256
"""Combinations of topics that are remembered to be in order."""
BUS_PREFIXES = tuple(f"{cls}." for cls in EVENT_BUS_CLASSES)

PlaceFacts = Callable[[int, Sequence[Output]], list[Coordinate]]
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
    facts_by_pass: list[int] = field(default_factory=list)
    """How many facts each pass stated, of a chain's head; of all others nothing."""
    landing: Landing | None = None

    def digest(self) -> str:
        """The outputs digest of this member's batch."""
        return outputs_digest(self.facts, self.trailing, self.stage.tails)

    def resolved(self) -> list[Output]:
        """Trailing outputs with their coordinates written in."""
        if not self.written:
            return []
        topics, keys, values, facts, known = zip(*self.written, strict=True)
        coordinates = self.coordinates
        where = [at if fact is None else coordinates[fact] for fact, at in zip(facts, known, strict=True)]
        if None in where:
            tails = iter(self.stage.tails([at for at in where if at is not None]))
            ends = [b"" if at is None else next(tails) for at in where]
        else:
            ends = self.stage.tails(cast("list[Coordinate]", where))
        return list(map(_AS_OUTPUT, zip(topics, keys, map(add, values, ends), strict=True)))

    def take(self, result: StepResult, coordinates: Sequence[Coordinate], lanes: frozenset[str]) -> None:
        """Add what one step put out; a chained head, and what it feeds, step more than once a batch.

        What is for one of `lanes` is not written.
        """
        self.facts += result.facts
        self.coordinates += coordinates
        self.trailing += result.trailing
        self.written += [out for out in result.trailing if out[0] not in lanes] if lanes else result.trailing
        self.artifacts += result.artifacts
        if result.quarantined:
            self.quarantined += result.quarantined


def run_chain(
    members: Sequence[Stage],
    batch: Batch,
    inputs: Sequence[InputRange],
    place: PlaceFacts,
) -> list[MemberRun]:
    """Step `batch` through the chain. The first member is the head and owns `inputs`.

    Each pass goes through the members in their order. The first steps all of them, so that they see time
    pass; the later ones, which bring back what members had for the head, only those that are fed.
    Raises ChainOutputError, ChainLoopError.
    """
    runs = [MemberRun(stage, stage.state.overlay()) for stage in members]
    head = runs[0]
    head.inputs = list(inputs)
    for chain_pass in range(MAX_PASSES):
        stated = StatedFacts(run.stage.inputs for run in runs[1:])
        handed = _step(runs, 0, batch, place, stated)
        for index, run in enumerate(runs[1:], start=1):
            fed = stated.of(run.stage.inputs)
            if fed or chain_pass == 0:
                records = [record for part in fed.values() for record in part]
                run.inputs = merge_ranges(run.inputs, ranges_within(fed))
                fed_batch = Batch(batch.now, arranged(run.stage, records), batch.environment)
                handed += _step(runs, index, fed_batch, place, stated)
        if not handed:
            return runs
        batch = Batch(batch.now, arranged(head.stage, handed), batch.environment)
    raise ChainLoopError(
        f"{[stage.name for stage in members]} still feed one another after {MAX_PASSES} passes"
    )


class StatedFacts:
    """The facts of one pass as records, by topic and partition, for the members that consume them."""

    def __init__(self, consumed: Iterable[Sequence[str]]) -> None:
        self._consumed = frozenset(topic for topics in consumed for topic in topics)
        self._placed: dict[Place, list[Record]] = defaultdict(list)

    def add(self, facts: Sequence[Output], coordinates: Sequence[Coordinate]) -> None:
        """Facts that were placed."""
        consumed, placed = self._consumed, self._placed
        if not consumed:
            return
        make = tuple.__new__  # without the function that a named tuple puts in front: there are millions
        for (topic, partition, offset), (_, key, value) in zip(coordinates, facts, strict=True):
            if topic in consumed:
                record = make(Record, (topic, partition, offset, key, value, (), None))
                placed[topic, partition].append(record)

    def of(self, topics: Sequence[str]) -> dict[Place, list[Record]]:
        """What stands in each partition of some topics, in the order in which it was placed."""
        return {where: records for where, records in self._placed.items() if where[0] in topics}


def _step(
    runs: Sequence[MemberRun],
    index: int,
    batch: Batch,
    place: PlaceFacts,
    stated: StatedFacts,
) -> list[Record]:
    """Step one member, place its facts and add them to `stated`. Returns what the head is fed with."""
    run = runs[index]
    lanes = frozenset(runs[0].stage.inputs if index else ())
    try:
        result = run.stage.step(run.overlay, batch)
    except Exception as error:
        error.add_note(f"raised by the step of {run.stage.name}")
        raise
    if len(runs) > 1:
        _check_outputs([other.stage for other in runs], index, result)
    coordinates = place(index, result.facts) if result.facts else []
    stated.add(result.facts, coordinates)
    run.events += len(batch.records)
    if index == 0 and len(runs) > 1:
        run.facts_by_pass.append(len(result.facts))
    run.take(result, coordinates, lanes)
    if not lanes:
        return []
    make = tuple.__new__
    return [
        make(Record, (topic, -1, -1, key, value, (), None))
        for topic, key, value, _, _ in result.trailing
        if topic in lanes
    ]


def _check_outputs(members: Sequence[Stage], index: int, result: StepResult) -> None:
    """Hold one step's outputs against the rules of a chain. Raises ChainOutputError naming rule and topic."""
    facts = frozenset(map(TOPIC, result.facts))
    trailing = frozenset(map(TOPIC, result.trailing))
    if facts or trailing:
        _check_topics(tuple((one.name, tuple(one.inputs)) for one in members), index, facts, trailing)


@lru_cache(_CHECKED)
def _check_topics(
    members: Sequence[tuple[str, Sequence[str]]], index: int, facts: frozenset[str], trailing: frozenset[str]
) -> None:
    """The rules over the topics of one step's outputs; `members` are names and inputs."""
    name, _ = members[index]
    for topic in sorted(facts | trailing) if index else ():
        if topic.startswith(BUS_PREFIXES):
            raise ChainOutputError(
                f"{name} addresses {topic}: only the head of a chain ({members[0][0]}) writes the event "
                f"bus; put a trailing output on the lane ingress.{name} instead"
            )
    for position, (other, inputs) in enumerate(members):
        missed = {*(trailing if position else ()), *(facts if position <= index else ())}
        for topic in sorted(missed.intersection(inputs)):
            raise ChainOutputError(
                f"{name} puts out {topic}, but {other}, which reads it, would not be fed with it: "
                "in a chain only facts are fed, and only to members behind the one that states them"
            )


def ranges_of(records: Sequence[Record]) -> list[InputRange]:
    """The offset range of each partition in `records`, in a stable order."""
    return ranges_within(by_partition(records))


def ranges_within(partitions: Mapping[Place, Sequence[Record]]) -> list[InputRange]:
    """The offset range that the records of each partition span, in a stable order."""
    return [
        InputRange(*where, min(map(OFFSET, records)), max(map(OFFSET, records)) + 1)
        for where, records in sorted(partitions.items())
    ]


def merge_ranges(left: Sequence[InputRange], right: Sequence[InputRange]) -> list[InputRange]:
    """One range a partition that covers both."""
    merged: dict[Place, InputRange] = {(item.topic, item.partition): item for item in left}
    for item in right:
        seen = merged.get((item.topic, item.partition))
        merged[item.topic, item.partition] = (
            item
            if seen is None
            else InputRange(item.topic, item.partition, min(seen.start, item.start), max(seen.end, item.end))
        )
    return [merged[where] for where in sorted(merged)]


def positions_after(positions: Mapping[Place, int], ranges: Sequence[InputRange]) -> dict[Place, int]:
    """Next offset of each partition once `ranges` are consumed."""
    after = dict(positions)
    for item in ranges:
        after[item.topic, item.partition] = item.end
    return after
