"""Stand-ins for one half of a chain while the other half is stepped again: they repeat what it did."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.model import (
    Batch,
    Coordinate,
    FrozenState,
    InputRange,
    Output,
    Record,
    Stage,
    StepResult,
    TrailingOutput,
)
from sluice_kit.stage.restore import LoggedPlaces


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


class LoggedHead(StandIn):
    """In place of a chain's head: states the facts that stand where the log says, pass by pass.

    Of these only the ones that a member reads. `handed`: what members handed it since `expect`, by pass.
    """

    def __init__(
        self, head: Stage, members: Sequence[Stage], read: Callable[[Sequence[InputRange]], list[Record]]
    ) -> None:
        super().__init__(head.name, head.inputs)
        self._read = read
        self._topics = {topic for member in members for topic in member.inputs}
        self._passes: Iterator[list[Record]] = iter(())
        self._stated: list[Record] = []
        self.handed: list[list[Handed]] = []

    def expect(self, record: BasisRecord) -> None:
        """Go to the head's next batch. Raises ReplayInputGoneError."""
        self._passes = iter([self._read(_ranges(runs, self._topics)) for runs in record.passes()])
        self.handed = []

    def step(self, overlay: None, batch: Batch) -> StepResult:
        """State the facts of the next pass; the records of all but the first are what members handed over."""
        del overlay
        if batch.records:
            self.handed.append([Handed(one.topic, one.key, one.value or b"") for one in batch.records])
        self._stated = next(self._passes, [])
        return StepResult(facts=[Output(one.topic, one.key, one.value or b"") for one in self._stated])

    def places(self) -> list[Coordinate]:
        """Where the facts of the last step stand."""
        return [Coordinate(*record[:3]) for record in self._stated]


class PlacesOfMembers(LoggedPlaces):
    """Coordinates: the head's are those of the records that were read, the members' come from their logs."""

    def __init__(self, head: LoggedHead, partitions: dict[str, int]) -> None:
        super().__init__(partitions)
        self._head = head

    def __call__(self, index: int, facts: Sequence[Output]) -> list[Coordinate]:
        """Where these facts stand."""
        return super().__call__(index, facts) if index else self._head.places()


class HandedBack(StandIn):
    """In place of a chain's members: hands the head what they handed it when they were stepped elsewhere."""

    def __init__(self, members: Sequence[Stage]) -> None:
        inputs = sorted({topic for member in members for topic in member.inputs})
        super().__init__("members", inputs)
        self._passes: Iterator[Sequence[Handed]] = iter(())

    def expect(self, handed: Sequence[Sequence[Handed]]) -> None:
        """Go to the next batch: what was handed over in each pass."""
        self._passes = iter(handed)

    def step(self, overlay: None, batch: Batch) -> StepResult:
        """Hand over what belongs to the next pass."""
        del overlay, batch
        return StepResult(trailing=[TrailingOutput(*one) for one in next(self._passes, ())])


def _ranges(runs: Sequence[tuple[str, int, int, int]], topics: set[str]) -> list[InputRange]:
    return [
        InputRange(topic, partition, start, start + count)
        for topic, partition, start, count in runs
        if topic in topics
    ]
