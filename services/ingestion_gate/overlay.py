"""What a batch changes about the gate, on top of what is committed; dropped when the batch aborts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.ingestion_gate.model import Admission, HeldReady, KnownKeys, Run, RunKey, RunStatus
from services.ingestion_gate.policy import GatePolicy


@dataclass(frozen=True, slots=True)
class GateView:
    """The committed state that a step may look at."""

    policy: GatePolicy
    runs: Mapping[RunKey, Run]
    held: Mapping[RunKey, tuple[HeldReady, ...]]
    keys: KnownKeys


@dataclass(slots=True)
class GateOverlay:
    """Reads through to the committed view; holds what this batch admitted, opened, closed and held."""

    view: GateView
    policy: GatePolicy | None = None
    runs: dict[RunKey, Run] = field(default_factory=dict)
    held: dict[RunKey, tuple[HeldReady, ...]] = field(default_factory=dict)
    admitted: dict[bytes, Admission] = field(default_factory=dict)
    facts: int = 0
    now: int = 0

    @property
    def active_policy(self) -> GatePolicy:
        """The policy in force at this point of the batch."""
        return self.policy or self.view.policy

    def run(self, key: RunKey) -> Run | None:
        """A run that is open or closed. A tenant's standing run opens when it is first asked for."""
        run = self.runs.get(key) or self.view.runs.get(key)
        if run is None and self._is_standing(key):
            run = self.open_run(Run(*key, self.next_run_no(), RunStatus.OPEN, standing=True))
        return run

    def open_run(self, run: Run) -> Run:
        """Add or replace a run."""
        self.runs[run.tenant, run.run_id] = run
        return run

    def next_run_no(self) -> int:
        """Runs are numbered as they open; the number stands for the run in the dedupe index."""
        return len(self.view.runs.keys() | self.runs.keys())

    def held_for(self, key: RunKey) -> tuple[HeldReady, ...]:
        """READYs of a run that wait for evidence."""
        return self.held[key] if key in self.held else self.view.held.get(key, ())

    def all_held(self) -> dict[RunKey, tuple[HeldReady, ...]]:
        """Every run with a waiting READY."""
        return {key: waiting for key, waiting in {**self.view.held, **self.held}.items() if waiting}

    def _is_standing(self, key: RunKey) -> bool:
        tenant = self.active_policy.tenants.get(key[0])
        return tenant is not None and tenant.standing_run == key[1]
