"""Runs as values: what was asked, which world answers it, which run that is, and how its state may move.

Pure: no clock, no I/O. Two submissions that mean the same give the same plan, the same key and the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

import orjson

DeliveryMode = Literal["push", "pull"]
STREAMED_ROLE: Final = "business_traffic"
_KEY_DOMAIN: Final = "sluice.run.v1"


class RunState(StrEnum):
    """Where a run stands. A state is never left backwards."""

    PLANNED = "PLANNED"
    VERIFYING = "VERIFYING"
    READY = "READY"
    REFUSED = "REFUSED"
    CLOSED = "CLOSED"


_NEXT: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.PLANNED: frozenset({RunState.VERIFYING}),
    RunState.VERIFYING: frozenset({RunState.READY, RunState.REFUSED}),
    RunState.READY: frozenset({RunState.CLOSED}),
    RunState.REFUSED: frozenset({RunState.CLOSED}),
    RunState.CLOSED: frozenset(),
}
UNSETTLED: Final = (RunState.PLANNED, RunState.VERIFYING)


def may_become(state: RunState, target: RunState) -> bool:
    """Tell whether a run in ``state`` may be moved to ``target``."""
    return target in _NEXT[state]


@dataclass(frozen=True, slots=True)
class Ref:
    """Where an artifact is and what its bytes hash to."""

    uri: str
    algo: str
    hash: str
    bytes: int
    schema_version: int = 1

    def to_fields(self) -> dict[str, Any]:
        """The locator shape of contracts and documents."""
        return {
            "uri": self.uri,
            "digest": {"algo": self.algo, "hash": self.hash},
            "bytes": self.bytes,
            "schema_version": self.schema_version,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Ref:
        """Read the locator shape. Raises KeyError when a part is missing."""
        digest = fields["digest"]
        return cls(fields["uri"], digest["algo"], digest["hash"], fields["bytes"], fields["schema_version"])


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of an output. Times are microseconds UTC."""

    ref: Ref
    rows: int
    min_ts_utc: int | None
    max_ts_utc: int | None


@dataclass(frozen=True, slots=True)
class OutputFacts:
    """One output of a world."""

    output_id: str
    role: str
    event_type: str | None
    primary_key: str
    schema_version: int
    rows: int
    files: tuple[FileFacts, ...]


@dataclass(frozen=True, slots=True)
class GateFacts:
    """A gate's verdict and the receipt it left."""

    gate_id: str
    verdict: str
    output_ids: tuple[str, ...]
    receipt: Ref


@dataclass(frozen=True, slots=True)
class WorldFacts:
    """What the verified manifest of a world says."""

    manifest: Ref
    engine: str
    manifest_fingerprint: str
    parameter_hash: str
    seed: int | None
    scenario_id: str
    outputs: tuple[OutputFacts, ...]
    gates: tuple[GateFacts, ...]


@dataclass(frozen=True, slots=True)
class WorldUnreadable:
    """The world could not be verified; ``reason`` is for people. Such a run is refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody asked for; None means: as the world says."""

    tenant: str
    world_uri: str
    world_digest: str | None = None
    scenario_id: str | None = None
    streamed_outputs: tuple[str, ...] | None = None
    required_gates: tuple[str, ...] | None = None
    traffic_delivery_mode: DeliveryMode = "push"
    attempt: int = 1
    reuse_evidence: Ref | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run, completely said. Pins are None when the world could not be read; ``unreadable`` says why."""

    run_id: str
    equivalence_key: str
    tenant: str
    scenario_id: str
    world_uri: str
    world_digest: str | None
    manifest_fingerprint: str | None
    parameter_hash: str | None
    seed: int | None
    streamed_outputs: tuple[str, ...]
    required_gates: tuple[str, ...]
    traffic_delivery_mode: DeliveryMode
    attempt: int
    reuse_evidence: Ref | None
    unreadable: str | None


def plan_run(submission: Submission, world: WorldFacts | WorldUnreadable) -> RunPlan:
    """Complete a submission from its world. Sets are sorted, so that their order never makes another run."""
    if isinstance(world, WorldUnreadable):
        facts, outputs, gates = None, submission.streamed_outputs or (), submission.required_gates or ()
    else:
        facts = world
        outputs = submission.streamed_outputs or default_outputs(world)
        gates = submission.required_gates or default_gates(world, outputs)
    scenario_id = submission.scenario_id or (facts.scenario_id if facts else "unknown")
    outputs, gates = tuple(sorted(set(outputs))), tuple(sorted(set(gates)))
    causes: dict[str, Any] = {
        "domain": _KEY_DOMAIN,
        "manifest_fingerprint": facts.manifest_fingerprint if facts else None,
        "parameter_hash": facts.parameter_hash if facts else None,
        "seed": facts.seed if facts else None,
        "scenario_id": scenario_id,
        "streamed_outputs": outputs,
        "required_gates": gates,
        "traffic_delivery_mode": submission.traffic_delivery_mode,
        "tenant": submission.tenant,
    }
    if facts is None:
        causes["unverified_world"] = [submission.world_uri, submission.world_digest]
    if submission.attempt > 1:
        causes["attempt"] = submission.attempt
    key = hashlib.sha256(orjson.dumps(causes, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return RunPlan(
        run_id=f"run-{key[:32]}",
        equivalence_key=key,
        tenant=submission.tenant,
        scenario_id=scenario_id,
        world_uri=facts.manifest.uri if facts else submission.world_uri,
        world_digest=facts.manifest.hash if facts else submission.world_digest,
        manifest_fingerprint=facts.manifest_fingerprint if facts else None,
        parameter_hash=facts.parameter_hash if facts else None,
        seed=facts.seed if facts else None,
        streamed_outputs=outputs,
        required_gates=gates,
        traffic_delivery_mode=submission.traffic_delivery_mode,
        attempt=submission.attempt,
        reuse_evidence=submission.reuse_evidence,
        unreadable=world.reason if isinstance(world, WorldUnreadable) else None,
    )


def default_outputs(world: WorldFacts) -> tuple[str, ...]:
    """All business traffic of a world."""
    return tuple(output.output_id for output in world.outputs if output.role == STREAMED_ROLE)


def default_gates(world: WorldFacts, outputs: tuple[str, ...]) -> tuple[str, ...]:
    """All gates on any of ``outputs``."""
    return tuple(gate.gate_id for gate in world.gates if not set(outputs).isdisjoint(gate.output_ids))
