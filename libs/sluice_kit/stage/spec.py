"""What a process runs: which stages, chained in which order, and how they are tuned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sluice_kit.stage.batching import prepare_of
from sluice_kit.stage.code_rev import code_revision
from sluice_kit.stage.model import BusReading, Prepare, ReadingHeaders, Rebuilding, Stage, Unhurried
from sluice_kit.stage.poison import PoisonLimits


@dataclass(frozen=True)
class ChainSpec:
    """A chain of stages. The first member is the head: it alone reads from the broker."""

    members: Sequence[Stage]

    @property
    def head(self) -> Stage:
        """The member that reads from the broker."""
        return self.members[0]

    @property
    def name(self) -> str | None:
        """`gate+flow_meter` for a chain, None for a stage of its own."""
        return CHAIN_SIGN.join(stage.name for stage in self.members) if len(self.members) > 1 else None

    @cached_property
    def code_rev(self) -> str:
        """The revision of what decides about outputs: the members' code and their policy data."""
        return code_revision(
            {name for stage in self.members for name in stage.code},
            [text for stage in self.members for text in stage.revision],
        )

    @property
    def with_headers(self) -> frozenset[str]:
        """Topics whose headers the head looks at."""
        return self.head.with_headers if isinstance(self.head, ReadingHeaders) else frozenset()

    @property
    def unhurried(self) -> frozenset[str]:
        """Topics of the head for which nobody waits."""
        return self.head.unhurried if isinstance(self.head, Unhurried) else frozenset()

    @property
    def prepare(self) -> Prepare | None:
        """The head's work ahead of the step, where it has any."""
        return prepare_of(self.head)

    @property
    def rebuild(self) -> Callable[[BusReading], None] | None:
        """How the state of a head that runs alone is made anew from the Event Bus, where it can be."""
        alone = len(self.members) == 1
        return self.head.rebuild if alone and isinstance(self.head, Rebuilding) else None


CHAIN_SIGN = "+"
"""Joins the names of a chain's members in the basis log."""


@dataclass(frozen=True, slots=True)
class StageSettings:
    """Tuning of one shard's runner. Times in seconds, sizes in records."""

    max_batch_records: int = 2_000
    linger_seconds: float = 0.0
    """How long a stage that has nothing to do waits for more of a steady flow: fewer, larger batches."""
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
