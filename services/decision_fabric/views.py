"""What the REST interface answers with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from services.decision_fabric.model import Activation
from sluice_contracts import Decoded, decode
from sluice_decisions import Bundle, BundleProblem


class AttributionView(BaseModel):
    """How much a feature moved the score (log-odds), in millionths."""

    feature: str
    value: int
    contribution_ppm: int


class BundleRef(BaseModel):
    """A bundle by id, revision and fingerprint."""

    id: str
    revision: str
    hash: str


class SnapshotRef(BaseModel):
    """The snapshot that was used, and the graph that it stands on."""

    hash: str
    feature_set_hash: str | None
    graph_version: int | None
    graph_basis: str | None


class PlaceView(BaseModel):
    """Where a fact stands on the event bus."""

    topic: str
    partition: int
    offset: int


class DecisionView(BaseModel):
    """A committed decision with everything that it stands on. `bundle` null: none could be used."""

    decision_id: str
    event_id: str
    tenant: str
    run_id: str
    ts_utc: datetime
    payment_id: str
    customer_id: str
    amount_minor: int
    currency: str
    outcome: Literal["ALLOW", "STEP_UP", "REVIEW", "DECLINE"]
    mode: Literal["MODEL", "RULES_ONLY", "FALLBACK", "FAIL_CLOSED"]
    reason_codes: list[str]
    score_ppm: int | None
    attributions: list[AttributionView]
    bundle: BundleRef | None
    policy_revision: str
    snapshot: SnapshotRef | None
    posture: str
    posture_event_id: str | None
    decided_at: datetime
    deadline: datetime | None
    payment: PlaceView
    input_basis: str
    links: dict[str, str]

    @classmethod
    def of(cls, value: bytes) -> DecisionView:
        """From a framed decision of ours."""
        found = decode(value)
        assert isinstance(found, Decoded), found
        fields, said = found.fields, found.fields["payload"]
        subject = said["subject_event_id"]
        return cls(
            decision_id=fields["event_id"],
            event_id=subject,
            tenant=fields["tenant"],
            run_id=fields["run_id"],
            ts_utc=_time(fields["ts_utc"]),
            bundle=(
                None
                if said["bundle_hash"] is None
                else BundleRef(
                    id=said["bundle_id"], revision=said["bundle_revision"], hash=said["bundle_hash"]
                )
            ),
            snapshot=None if said["snapshot_hash"] is None else _snapshot(said),
            decided_at=_time(said["decided_at"]),
            deadline=None if said["deadline"] is None else _time(said["deadline"]),
            links={"receipts": f"/v1/receipts/{subject}"},
            **{name: said[name] for name in _AS_THEY_ARE},
        )


_AS_THEY_ARE = (
    "payment_id",
    "customer_id",
    "amount_minor",
    "currency",
    "outcome",
    "mode",
    "reason_codes",
    "score_ppm",
    "attributions",
    "policy_revision",
    "posture",
    "posture_event_id",
    "payment",
    "input_basis",
)


class ActiveBundleView(BaseModel):
    """The bundle that a scope's last activation names.

    `status` UNREAD: no decision has asked for it since this process started.
    """

    scope: str
    activation_event_id: str
    bundle: BundleRef
    manifest: str
    status: Literal["LOADED", "UNREAD", "UNUSABLE"]
    reason: str | None
    detail: str | None

    @classmethod
    def of(cls, scope: str, activation: Activation, found: Bundle | BundleProblem | None) -> ActiveBundleView:
        """`found` is what the activation was resolved to, None when it was not asked for yet."""
        problem = found if isinstance(found, BundleProblem) else None
        status: Literal["LOADED", "UNREAD", "UNUSABLE"] = "UNREAD" if found is None else "LOADED"
        return cls(
            scope=scope,
            activation_event_id=activation.event_id,
            bundle=BundleRef(
                id=activation.bundle_id, revision=activation.revision, hash=activation.fingerprint
            ),
            manifest=activation.uri,
            status=status if problem is None else "UNUSABLE",
            reason=None if problem is None else problem.reason.value,
            detail=None if problem is None else f"{problem.uri}: {problem.message}",
        )


class ActiveBundleList(BaseModel):
    """Active bundles by scope, in the order of the scopes."""

    bundles: list[ActiveBundleView]


def _snapshot(said: dict[str, Any]) -> SnapshotRef:
    return SnapshotRef(
        hash=said["snapshot_hash"],
        feature_set_hash=said["feature_set_hash"],
        graph_version=said["graph_version"],
        graph_basis=said["graph_basis"],
    )


def _time(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
