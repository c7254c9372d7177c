"""What a process runs: which stages, chained in which order, and how their input is ordered and tuned."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sluice_kit.stage.model import Prepare, Record, Stage
from sluice_kit.stage.poison import PoisonLimits


@dataclass(frozen=True, slots=True)
class BusReading:
    """What a rebuild may look at.

    `read` gives the committed records of topics, first to last; `positions` (next offset by partition) and
    `now` (microseconds UTC) are the end of the stage's own history, which the state has to fit.
    """

    read: Callable[[Sequence[str]], Iterator[list[Record]]]
    positions: Mapping[tuple[str, int], int]
    now: int


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """A chain of stages. The first member is the head: it alone reads from the broker.

    `order` is the rule for records inside a batch; `with_headers` are the topics whose headers matter.
    """

    members: Sequence[Stage]
    order: Callable[[Sequence[Record]], list[Record]]
    code_rev: str
    with_headers: frozenset[str] = frozenset()
    prepare: Prepare | None = None
    """Decoding, checking, hashing: done ahead, in another thread."""
    rebuild: Callable[[BusReading], None] | None = None
    """Makes the head's state anew from the Event Bus when neither checkpoint nor inputs are left; only the
    gate can, since what it admitted is what the bus holds."""

    @property
    def head(self) -> Stage:
        """The member that reads from the broker."""
        return self.members[0]

    @property
    def name(self) -> str | None:
        """`gate+flow_meter` for a chain, None for a stage of its own."""
        return "+".join(stage.name for stage in self.members) if len(self.members) > 1 else None


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Tuning of one shard's runner. Times in seconds, sizes in records."""

    max_batch_records: int = 2_000
    idle_tick_seconds: float = 1.0
    checkpoint_seconds: float = 30.0
    checkpoint_events: int = 500_000
    max_checkpoint_age_seconds: float = 600.0
    start_deadline_seconds: float = 120.0
    transaction_timeout_seconds: float = 10.0
    """How long the broker lets a transaction of a silent process hold readers up."""
    takeover_seconds: float = 5.0
    """How long a fenced process looks for the instance that took over before it takes the shard back."""
    retry_backoff_seconds: float = 0.1
    accept_code_change: bool = False
    """Step batches of another code revision without holding their outputs against the log (audited)."""
    poison: PoisonLimits = field(default_factory=PoisonLimits)
