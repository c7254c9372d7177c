"""What the REST API takes and shows. Times are RFC 3339 UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from services.action_layer.core import FINAL, State
from services.action_layer.lookups import Fields, KnownAction
from sluice_kit.receipts import moment_text

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]


class ResolveRequest(BaseModel):
    """What an operator found out about an UNCERTAIN action."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["EXECUTED", "FAILED"]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=512, strip_whitespace=True)]


class OutcomeView(BaseModel):
    """An outcome as it was published."""

    event_id: str
    intent_event_id: str
    outcome: State
    attempts: int
    reason_codes: list[str]
    detail: str | None
    response_code: int | None
    started_at: str
    finished_at: str
    supersedes: str | None
    policy_revision: str


class AttemptView(BaseModel):
    """A call; without `ended_at` nobody knows what came of it."""

    number: int
    started_at: str
    ended_at: str | None
    result: str | None


class ActionView(BaseModel):
    """An action: where it is, what was said, what was called. `waits_for`: what an open one needs."""

    idempotency_key: str
    tenant: str
    subject_event_id: str
    effector: str
    domain: str
    action: str
    state: State
    attempts: int
    next_at: str | None
    not_after: str | None
    waits_for: Literal["worker", "operator"] | None
    started_at: str
    outcomes: list[OutcomeView]
    refused: list[OutcomeView]
    calls: list[AttemptView]
    links: dict[str, str]


class ActionList(BaseModel):
    """Actions, oldest first."""

    actions: list[ActionView]


def action_view(known: KnownAction) -> ActionView:
    """An action as people see it."""
    action = known.action
    final = action.state in FINAL
    waits: Literal["worker", "operator"] = "operator" if action.next_at is None else "worker"
    return ActionView(
        idempotency_key=known.idempotency_key,
        tenant=known.tenant,
        subject_event_id=known.subject_event_id,
        effector=known.effector,
        domain=known.asked["domain"],
        action=known.asked["action"],
        state=action.state,
        attempts=action.attempts,
        next_at=_moment(action.next_at),
        not_after=_moment(action.not_after),
        waits_for=None if final else waits,
        started_at=moment_text(known.started_at),
        outcomes=[_outcome(fields) for fields in known.outcomes],
        refused=[_outcome(fields) for fields in known.refused],
        calls=[
            AttemptView(
                number=call.number,
                started_at=moment_text(call.started_at),
                ended_at=_moment(call.ended_at),
                result=call.result,
            )
            for call in known.attempts
        ],
        links=_links(known.idempotency_key, action.state),
    )


def action_list(found: Sequence[KnownAction]) -> ActionList:
    """Several."""
    return ActionList(actions=[action_view(known) for known in found])


def _links(key: str, state: State) -> dict[str, str]:
    links = {"self": f"/v1/actions/{key}"}
    if state is State.UNCERTAIN:
        links["resolve"] = f"/v1/actions/{key}/resolve"
    return links


def _outcome(fields: Fields) -> OutcomeView:
    payload: dict[str, Any] = fields["payload"]
    shown = {name: payload[name] for name in OutcomeView.model_fields if name in payload}
    times = {name: moment_text(payload[name]) for name in ("started_at", "finished_at")}
    return OutcomeView(event_id=fields["event_id"], **shown | times)


def _moment(micros: int | None) -> str | None:
    return None if micros is None else moment_text(micros)
