"""Whether an intent may be carried out: the policy's answer before anything is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.action_layer.core import EXPIRED, State, Verdict
from services.action_layer.intents import Fields

ANY: Final = "*"
EFFECTOR_UNKNOWN: Final = "EFFECTOR_UNKNOWN"
EFFECTOR_NOT_WIRED: Final = "EFFECTOR_NOT_WIRED"
NOT_ALLOWED: Final = "NOT_ALLOWED"
OPERATION_UNKNOWN: Final = "OPERATION_UNKNOWN"
PARAMETERS_MISSING: Final = "PARAMETERS_MISSING"


class Permission(NamedTuple):
    """One line of the policy: all five must fit; ``*`` fits everything."""

    effector: str
    actions: frozenset[str]
    domains: frozenset[str]
    outcomes: frozenset[str]
    tenants: frozenset[str]

    def covers(self, intent: Fields) -> bool:
        """Whether this line allows the intent."""
        payload = intent["payload"]
        asked = (
            (self.actions, payload["action"]),
            (self.domains, payload["domain"]),
            (self.outcomes, payload["outcome"]),
            (self.tenants, intent["tenant"]),
        )
        return self.effector == payload["effector"] and all(
            ANY in allowed or value in allowed for allowed, value in asked
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
        effector = payload["effector"]
        kind = self.effectors.get(effector)
        if kind is None:
            return _denied(EFFECTOR_UNKNOWN, f"the policy {self.revision} knows no effector {effector}")
        if not any(permission.covers(intent) for permission in self.permissions):
            detail = (
                f"the policy {self.revision} lets {effector} not do {payload['action']} for"
                f" {payload['outcome']} in domain {payload['domain']} of tenant {intent['tenant']}"
            )
            return _denied(NOT_ALLOWED, detail)
        if effector not in self.wired:
            return _denied(EFFECTOR_NOT_WIRED, f"the wiring names no target for the effector {effector}")
        if payload["not_after"] is not None and now > payload["not_after"]:
            return Verdict(State.FAILED, (EXPIRED,), "it came after its not_after")
        return self._list_objection(payload, effector) if kind == "list" else None

    def _list_objection(self, payload: Fields, effector: str) -> Verdict | None:
        if payload["action"] not in self.operations[effector]:
            return _denied(OPERATION_UNKNOWN, f"{effector}.operations names no {payload['action']}")
        if payload["list"] is None or payload["entry"] is None:
            return Verdict(State.FAILED, (PARAMETERS_MISSING,), "a change of a list needs list and entry")
        return None


def _denied(reason: str, detail: str) -> Verdict:
    return Verdict(State.DENIED, (reason,), detail)
