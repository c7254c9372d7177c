"""Whether an intent may be carried out: the policy's answer before anything is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.action_layer.core import EXPIRED, State, Verdict
from services.action_layer.intents import Fields

ANY: Final = "*"
CALLS: Final = "webhook"
"""The kind of effectors that call somebody."""
EFFECTOR_UNKNOWN: Final = "EFFECTOR_UNKNOWN"
EFFECTOR_NOT_WIRED: Final = "EFFECTOR_NOT_WIRED"
NOT_ALLOWED: Final = "NOT_ALLOWED"
OPERATION_UNKNOWN: Final = "OPERATION_UNKNOWN"
PARAMETERS_MISSING: Final = "PARAMETERS_MISSING"
EXPIRED_BEFORE: Final = Verdict(State.FAILED, (EXPIRED,), "it came after its not_after")


class IntentKind(NamedTuple):
    """What of an intent the policy's permissions look at."""

    tenant: str
    effector: str
    action: str
    domain: str
    outcome: str


def kind_of_intent(intent: Fields) -> IntentKind:
    """The kind of one intent."""
    payload = intent["payload"]
    return IntentKind(
        intent["tenant"], payload["effector"], payload["action"], payload["domain"], payload["outcome"]
    )


class Permission(NamedTuple):
    """One line of the policy: all five must fit; ``*`` fits everything."""

    effector: str
    actions: frozenset[str]
    domains: frozenset[str]
    outcomes: frozenset[str]
    tenants: frozenset[str]

    def covers(self, asked: IntentKind) -> bool:
        """Whether this line allows intents of a kind."""
        wanted = (
            (self.actions, asked.action),
            (self.domains, asked.domain),
            (self.outcomes, asked.outcome),
            (self.tenants, asked.tenant),
        )
        return self.effector == asked.effector and all(
            ANY in allowed or value in allowed for allowed, value in wanted
        )


@dataclass(frozen=True, slots=True)
class Authority:
    """The policy as intents are held against it.

    ``effectors``: kind by name. ``wired``: those that can be reached here. ``operations``: for effectors of
    kind ``list``, ADD or REMOVE by action.
    """

    revision: str
    effectors: Mapping[str, str]
    wired: frozenset[str]
    operations: Mapping[str, Mapping[str, str]]
    permissions: Sequence[Permission]

    def objection(self, intent: Fields, now: int) -> Verdict | None:
        """Why an intent is not carried out, None when it may be."""
        payload = intent["payload"]
        verdict = self.standing_objection(kind_of_intent(intent))
        if verdict is not None:
            return verdict
        if is_past(payload["not_after"], now):
            return EXPIRED_BEFORE
        effector = payload["effector"]
        return self._list_objection(payload, effector) if self.effectors[effector] == "list" else None

    def standing_objection(self, asked: IntentKind) -> Verdict | None:
        """Why intents of a kind are never carried out, whenever they come; None when they may be."""
        effector = asked.effector
        if effector not in self.effectors:
            return _denied(EFFECTOR_UNKNOWN, f"the policy {self.revision} knows no effector {effector}")
        if not any(permission.covers(asked) for permission in self.permissions):
            detail = (
                f"the policy {self.revision} lets {effector} not do {asked.action} for"
                f" {asked.outcome} in domain {asked.domain} of tenant {asked.tenant}"
            )
            return _denied(NOT_ALLOWED, detail)
        if effector not in self.wired:
            return _denied(EFFECTOR_NOT_WIRED, f"the wiring names no target for the effector {effector}")
        return None

    def objection_to_call(self, intent: Fields) -> Verdict | None:
        """Why an intent that was taken in before is not called now; None when it may be.

        The policy may have changed since: it can also have made the effector one that calls nobody.
        """
        verdict = self.standing_objection(kind_of_intent(intent))
        effector = intent["payload"]["effector"]
        if verdict is None and self.effectors[effector] != CALLS:
            detail = f"in the policy {self.revision} the effector {effector} calls nobody"
            return _denied(EFFECTOR_NOT_WIRED, detail)
        return verdict

    def _list_objection(self, payload: Fields, effector: str) -> Verdict | None:
        if payload["action"] not in self.operations[effector]:
            return _denied(OPERATION_UNKNOWN, f"{effector}.operations names no {payload['action']}")
        if payload["list"] is None or payload["entry"] is None:
            return Verdict(State.FAILED, (PARAMETERS_MISSING,), "a change of a list needs list and entry")
        return None


def is_past(not_after: int | None, now: int) -> bool:
    """Whether an intent came too late to be carried out."""
    return not_after is not None and now > not_after


def _denied(reason: str, detail: str) -> Verdict:
    return Verdict(State.DENIED, (reason,), detail)
