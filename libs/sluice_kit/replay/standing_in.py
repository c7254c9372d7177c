"""Stand-ins for the parts of a chain that are stepped again elsewhere: they repeat what these did."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sluice_kit.places import Coordinate
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.model import (
    Batch,
    FrozenState,
    InputRange,
    Output,
    Record,
    Stage,
    StepResult,
    TrailingOutput,
)
from sluice_kit.stage.restore import LoggedPlaces

ReadFacts = Callable[[Sequence[InputRange]], list[Record]]
"""Gives the records that stand in some ranges of the bus."""

_MORE: Final = "passes"
"""A topic of no broker: the head had one more pass."""


class NotApartError(Exception):
    """The history cannot be verified in several processes; in one it may be."""


class Handed(NamedTuple):
    """A record that a member handed to the head in memory."""

    topic: str
    key: bytes | None
    value: bytes


class NoState:
    """The state of a stage that has none."""

    def overlay(self) -> None:
        """Nothing to work on."""

    def apply(self, overlay: None, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Nothing to keep."""

    def freeze(self) -> FrozenState:
        """Raises NotImplementedError: a verification seals nothing."""
        raise NotImplementedError

    def load(self, files: Sequence[Path]) -> None:
        """Nothing to load."""


class StandIn:
    """What the stand-ins have in common: no code, no state, and records in the order in which they come."""

    code: Sequence[str] = ()
    revision: Sequence[str] = ()

    def __init__(self, name: str, inputs: Sequence[str]) -> None:
        self.name = name
        self.inputs = inputs
        self.state = NoState()

    def order(self, records: Sequence[Record]) -> list[Record]:
        """As they come."""
        return list(records)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing ends in coordinates."""
        return [b""] * len(coordinates)


class LoggedUpstream(StandIn):
    """In place of a chain's head and of the members `before` a group: states what they had stated.

    Of the facts that stand where the log says only those that the group reads, pass by pass; those of members
    in the first. `handed`: what the group handed the head since `expect`, by pass.
    """

    def __init__(
        self,
        head: Stage,
        before: Sequence[Stage],
        group: Sequence[Stage],
        read: ReadFacts,
    ) -> None:
        super().__init__(head.name, head.inputs)
        self._read = read
        self._before = before
        self._topics = topics_of(group)
        self._passes: Iterator[list[Record]] = iter(())
        self._stated: list[Record] = []
        self.handed: list[list[Handed]] = []

    def expect(self, record: BasisRecord, before: Sequence[BasisRecord] = ()) -> None:
        """Go to the next batch: the head's record of it, and those of the members before the group.

        Raises ReplayInputGoneError; NotApartError where such a member may have stated facts in a later pass.
        """
        first, *later = record.passes()
        stating = [stage for stage, logged in zip(self._before, before, strict=True) if logged.outputs]
        again = topics_of(stating).intersection(topic for runs in later for topic, *_ in runs)
        if again:
            raise NotApartError(f"batch {record.batch_no} fed {sorted(again)} in a later pass")
        first = [*first, *(run for member in before for run in member.outputs)]
        stated = [self._read(_ranges(runs, self._topics)) for runs in (first, *later)]
        for number, records in enumerate(stated[:-1]):
            records.append(Record(_MORE, 0, number, None, b""))
        self._passes = iter(stated)
        self.handed = []

    def step(self, overlay: None, batch: Batch) -> StepResult:
        """State the facts of the next pass; all but the first are fed with what the group handed over."""
        del overlay
        if batch.records:
            self.handed.append([Handed(one.topic, one.key, one.value) for one in batch.records if one.value])
        self._stated = next(self._passes, [])
        return StepResult(facts=[Output(one.topic, one.key, one.value or b"") for one in self._stated])

    def places(self) -> list[Coordinate]:
        """Where the facts of the last step stand."""
        return [Coordinate(*record[:3]) for record in self._stated]


class PassKeeper(StandIn):
    """In place of the members behind a group: the head has its next pass also when the group is silent."""

    def __init__(self, head: Stage) -> None:
        super().__init__("others", (_MORE,))
        self._nothing = TrailingOutput(head.inputs[0], None, b"")

    def step(self, overlay: None, batch: Batch) -> StepResult:
        """Hand over a record without a value where the log knows one more pass."""
        del overlay
        return StepResult(trailing=[self._nothing] if batch.records else [])


class PlacesOfMembers(LoggedPlaces):
    """Coordinates: the head's are those of the records that were read, the members' come from their logs."""

    def __init__(self, head: LoggedUpstream, partitions: dict[str, int]) -> None:
        super().__init__(partitions)
        self._head = head

    def __call__(self, index: int, facts: Sequence[Output]) -> list[Coordinate]:
        """Where these facts stand."""
        return super().__call__(index, facts) if index else self._head.places()


class HandedBack(StandIn):
    """In place of a chain's members: hands the head what they handed it when they were stepped elsewhere."""

    def __init__(self, members: Sequence[Stage]) -> None:
        super().__init__("members", sorted(topics_of(members)))
        self._passes: Iterator[Sequence[Handed]] = iter(())

    def expect(self, handed: Sequence[Sequence[Handed]]) -> None:
        """Go to the next batch: what was handed over in each pass."""
        self._passes = iter(handed)

    def step(self, overlay: None, batch: Batch) -> StepResult:
        """Hand over what belongs to the next pass."""
        del overlay, batch
        return StepResult(trailing=[TrailingOutput(*one) for one in next(self._passes, ())])


def topics_of(members: Sequence[Stage]) -> set[str]:
    """All that some stages read."""
    return {topic for member in members for topic in member.inputs}


def _ranges(runs: Sequence[tuple[str, int, int, int]], topics: set[str]) -> list[InputRange]:
    return [
        InputRange(topic, partition, start, start + count)
        for topic, partition, start, count in runs
        if topic in topics
    ]
