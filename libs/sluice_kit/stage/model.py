"""The vocabulary of a stage: what it is given, what it returns, what its state must be able to do.

A stage is a pure function `step(overlay, batch) -> StepResult`. It never looks at a clock, a file or a
socket; everything that steers it stands in the batch. The kit does the rest: polling, transactions,
coordinates, the basis log, checkpoints and restart by replay.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sluice_kit.places import Coordinate, Place


class Record(NamedTuple):
    """One input record. A chained record (fed in memory) has partition and offset -1.

    `prepared` is what the stage's pure `prepare` made of it ahead of the step.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    prepared: Any = None


Prepare = Callable[[Sequence[Record]], Sequence[Any]]
"""Pure work on records that needs no state: for each one what it is to find under `prepared`."""


class InputRange(NamedTuple):
    """Offsets of one partition that a batch consumed; `end` is exclusive-next (last delivered + 1)."""

    topic: str
    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's whole input.

    `now` is microseconds UTC and never goes back; `environment` holds facts about the outside that steer
    the step and are therefore logged with it; `poison` maps the index of a record on which the step
    raised to the error, so that the step can refuse it instead of looking at it.
    """

    now: int
    records: Sequence[Record]
    environment: Mapping[str, str] = field(default_factory=dict)
    poison: Mapping[int, str] = field(default_factory=dict)


class Output(NamedTuple):
    """A record to write; murmur2 of its key names its partition."""

    topic: str
    key: bytes | None
    value: bytes


CoordinateTails = Callable[[Sequence[Coordinate]], list[bytes]]


class TrailingOutput(NamedTuple):
    """A record that ends in the coordinates of a fact of the same transaction.

    `value` is everything before the coordinates. `fact` is the index of that fact among all facts of the
    overlay (a chained head steps more than once a batch); `known` gives coordinates of an earlier
    transaction instead. The tail is left out of the outputs digest when `fact` is set: a batch must not
    depend on coordinates that it makes itself.
    """

    topic: str
    key: bytes | None
    value: bytes
    fact: int | None = None
    known: Coordinate | None = None


@dataclass(slots=True)
class ArtifactPut:
    """Bytes to put under a content address before the commit; an orphan of an abort is harmless."""

    prefix: str
    content: bytes
    suffix: str = ""


@dataclass(slots=True)
class StepResult:
    """What one step wants done: facts first (their coordinates become known), then what names them."""

    facts: list[Output] = field(default_factory=list)
    trailing: list[TrailingOutput] = field(default_factory=list)
    artifacts: list[ArtifactPut] = field(default_factory=list)
    quarantined: Counter[str] = field(default_factory=Counter)
    """How many records were refused, by reason."""


class FrozenState(Protocol):
    """A snapshot taken in O(1); written by a background thread while steps go on."""

    def write(self, folder: Path) -> list[Path]:
        """Write what changed since the last snapshot plus the names of what did not; returns the files."""
        ...


class StageState(Protocol):
    """Committed state of a stage. Steps work on an overlay; only a commit changes the state."""

    def overlay(self) -> Any:
        """A scratch layer that reads through to the committed state."""
        ...

    def apply(self, overlay: Any, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed overlay in. `coordinates[i]` belongs to fact `i` of the batch."""
        ...

    def freeze(self) -> FrozenState:
        """A snapshot of the committed state, in constant time."""
        ...

    def load(self, files: Sequence[Path]) -> None:
        """Replace the state by a sealed snapshot.

        Raises:
            ArtifactError: a file cannot be read; the state is as it was, and an older snapshot is tried.
        """
        ...


@dataclass(frozen=True, slots=True)
class BusReading:
    """What a rebuild may look at.

    `read` gives the committed records of topics, first to last; `positions` (next offset by partition) and
    `now` (microseconds UTC) are the end of the stage's own history, which the state has to fit.
    """

    read: Callable[[Sequence[str]], Iterator[list[Record]]]
    positions: Mapping[Place, int]
    now: int


class Stage(Protocol):
    """One stage of a chain. What only some stages can do are the protocols `Preparing` to `Rebuilding`."""

    @property
    def name(self) -> str:
        """The service's name: its principal, its basis topic, its transactional id."""
        ...

    @property
    def inputs(self) -> Sequence[str]:
        """Topics it consumes, control topics first."""
        ...

    @property
    def code(self) -> Sequence[str]:
        """Packages and modules that decide about its outputs."""
        ...

    @property
    def revision(self) -> Sequence[str]:
        """Fingerprints of the policy data that it runs on; nothing that arrives in batches."""
        ...

    @property
    def state(self) -> StageState:
        """Its committed state."""
        ...

    def order(self, records: Sequence[Record]) -> list[Record]:
        """The records of a batch in the order in which they are stepped, however they come; pure."""
        ...

    def step(self, overlay: Any, batch: Batch) -> StepResult:
        """The pure step."""
        ...

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """The last bytes of trailing outputs that end in `coordinates` (only a stage that has any)."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A stage with work on records that needs no state: decoding, checking, hashing.

    The head's is done ahead, of a backlog in another thread; `order` and `step` find it under `prepared`.
    """

    def prepare(self, records: Sequence[Record]) -> Sequence[Any]:
        """For each record what it is to find under `prepared`; how records are grouped does not matter."""
        ...


@runtime_checkable
class ReadingHeaders(Protocol):
    """A stage that looks at the headers of some topics."""

    @property
    def with_headers(self) -> frozenset[str]:
        """Those topics."""
        ...


@runtime_checkable
class Unhurried(Protocol):
    """A stage that reads topics for which nobody waits; their records are spread over batches."""

    @property
    def unhurried(self) -> frozenset[str]:
        """Those topics."""
        ...


@runtime_checkable
class FollowingOutputs(Protocol):
    """A stage whose after-commit hooks want to know where its outputs to some topics landed."""

    @property
    def followed(self) -> frozenset[str]:
        """Those topics; what goes there always has a key."""
        ...


def followed_by(stage: Stage) -> frozenset[str]:
    """The topics of which a stage is told where its outputs landed."""
    return stage.followed if isinstance(stage, FollowingOutputs) else frozenset()


@runtime_checkable
class Waking(Protocol):
    """A stage for which a moment of `now` matters, whether there is input then or not: a deadline."""

    def wake_at(self) -> int | None:
        """The next `now` (microseconds) at which it wants to be stepped, by its committed state.

        None: it is in no hurry, and the tick of an idle chain is soon enough.
        """
        ...


@runtime_checkable
class Rebuilding(Protocol):
    """A stage whose state can be made anew from the Event Bus: the gate, which admitted what stands there."""

    def rebuild(self, bus: BusReading) -> None:
        """Replace the state. Used when neither checkpoint nor inputs are left, and not in a chain."""
        ...
