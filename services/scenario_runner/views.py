"""What the REST API takes and shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.scenario_runner.core import Ref, RunState, Submission
from services.scenario_runner.runs import Foreseen, RunSnapshot
from sluice_kit.artifacts import Locator
from sluice_kit.telemetry import trace_id_for

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorldRequest(_Request):
    """A sealed world: the URI of its folder, and the sha256 of its manifest to hold it to."""

    uri: Annotated[str, StringConstraints(pattern=r"^oracle://[A-Za-z0-9_./:=-]+$", max_length=1024)]
    manifest_digest: Sha256 | None = None


class RunRequest(_Request):
    """A submission. What is left out is taken from the world: its scenario, business traffic and gates.

    ``attempt`` above 1 makes another run of the same meaning, for a world that was refused and repaired.
    ``reuse_evidence`` is the locator of an earlier run's verifier receipt; bytes it proves are not read
    again.
    """

    world: WorldRequest
    scenario_id: Id | None = None
    streamed_outputs: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None
    required_gates: Annotated[list[Id], Field(min_length=1, max_length=1000)] | None = None
    traffic_delivery_mode: Literal["push", "pull"] = "push"
    attempt: Annotated[int, Field(ge=1, le=1000)] = 1
    reuse_evidence: Locator | None = None

    def to_submission(self, tenant: str) -> Submission:
        """The core's form."""
        return Submission(
            tenant=tenant,
            world_uri=self.world.uri.rstrip("/").removesuffix("/manifest.json"),
            world_digest=self.world.manifest_digest,
            scenario_id=self.scenario_id,
            streamed_outputs=None if self.streamed_outputs is None else tuple(self.streamed_outputs),
            required_gates=None if self.required_gates is None else tuple(self.required_gates),
            traffic_delivery_mode=self.traffic_delivery_mode,
            attempt=self.attempt,
            reuse_evidence=Ref.from_fields(self.reuse_evidence.to_fields()) if self.reuse_evidence else None,
        )


class CloseRequest(_Request):
    """``force`` closes a run whose READY was never admitted."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    force: bool = False


class Coordinates(BaseModel):
    """Where a record stands on the bus."""

    topic: str
    partition: int
    offset: int


class EvidenceView(BaseModel):
    """What the ingestion gate found when it checked the run for itself."""

    verdict: str
    reasons: list[str]


class RunView(BaseModel):
    """A run. Times are ISO 8601 UTC; ``ready_admitted`` is set once READY stands on control.run."""

    run_id: str
    tenant: str
    state: RunState
    revision: int
    changed_at: str
    submitted_at: str
    reasons: list[str]
    scenario_id: str
    world: str
    manifest_fingerprint: str | None
    streamed_outputs: list[str]
    required_gates: list[str]
    traffic_delivery_mode: str
    equivalence_key: str
    trace_id: str
    ready_event_id: str | None
    ready_admitted: Coordinates | None
    close_admitted: Coordinates | None
    evidence: EvidenceView | None
    facts_view: Locator | None
    verifier_receipt: Locator | None
    run_plan: Locator
    run_status: Locator
    links: dict[str, str]


class RunList(BaseModel):
    """Runs, newest first; ``next`` is the link to older ones."""

    runs: list[RunView]
    next: str | None


class ForeseenView(BaseModel):
    """What a submission would come to. Nothing was written."""

    dry_run: Literal[True] = True
    would_be: Literal["READY", "REFUSED"]
    reasons: list[str]
    checks: list[dict[str, Any]]
    run_id: str
    equivalence_key: str
    streamed_outputs: list[str]
    required_gates: list[str]


def run_view(snapshot: RunSnapshot) -> RunView:
    """Show a run."""
    plan, status = snapshot.run.plan, snapshot.run.status
    document = status.document
    evidence = snapshot.admitted("run_evidence")
    own = f"/v1/runs/{plan.run_id}"
    links = {"self": own, "close": f"{own}/close"}
    if document["facts_view"] is not None:
        links["facts_view"] = f"{own}/facts-view"
    return RunView(
        run_id=plan.run_id,
        tenant=plan.tenant,
        state=snapshot.run.state,
        revision=document["revision"],
        changed_at=iso(document["at_utc"]),
        submitted_at=iso(snapshot.run.submitted_at_utc),
        reasons=document["reasons"],
        scenario_id=plan.scenario_id,
        world=plan.world_uri,
        manifest_fingerprint=plan.manifest_fingerprint,
        streamed_outputs=list(plan.streamed_outputs),
        required_gates=list(plan.required_gates),
        traffic_delivery_mode=plan.traffic_delivery_mode,
        equivalence_key=plan.equivalence_key,
        trace_id=trace_id_for(plan.run_id, snapshot.run.submitted_in),
        ready_event_id=document["ready_event_id"],
        ready_admitted=_coordinates(snapshot, "run_ready"),
        close_admitted=_coordinates(snapshot, "run_closed"),
        evidence=EvidenceView(verdict=evidence.payload["verdict"], reasons=evidence.payload["reasons"])
        if evidence
        else None,
        facts_view=_locator(document["facts_view"]),
        verifier_receipt=_locator(document["verifier_receipt"]),
        run_plan=Locator.load(snapshot.run.plan_ref.to_fields()),
        run_status=Locator.load(status.ref.to_fields()),
        links=links,
    )


def foreseen_view(foreseen: Foreseen) -> ForeseenView:
    """Show a dry run."""
    failed = [check.detail for check in foreseen.checks if not check.passed]
    return ForeseenView(
        would_be="REFUSED" if failed else "READY",
        reasons=failed,
        checks=[{"name": c.name, "passed": c.passed, "detail": c.detail} for c in foreseen.checks],
        run_id=foreseen.plan.run_id,
        equivalence_key=foreseen.plan.equivalence_key,
        streamed_outputs=list(foreseen.plan.streamed_outputs),
        required_gates=list(foreseen.plan.required_gates),
    )


def iso(micros: int) -> str:
    """Microseconds since 1970 UTC as ISO 8601."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat()


def _coordinates(snapshot: RunSnapshot, event_type: str) -> Coordinates | None:
    found = snapshot.admitted(event_type)
    return Coordinates(topic=found.topic, partition=found.partition, offset=found.offset) if found else None


def _locator(fields: dict[str, Any] | None) -> Locator | None:
    return Locator.load(fields) if fields else None
