"""What the fabric itself goes by: deadlines, and the actions that each outcome asks for."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sluice_decisions import Outcome
from sluice_decisions.documents import Document, Part
from sluice_decisions.policy import MemberName, ReasonCode

FILE = "decision_actions.yaml"
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=7 * 86_400_000)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Effector = Literal["log", "webhook", "list"]


class Action(Part):
    """One action of an outcome.

    `list` and `entry` belong to the effector `list`: the field of the payment that joins that list.
    `with_reason`: asked for only when the decision has one of these reason codes; empty: always.
    `not_after_ms` counts from the decision; None: it may be done whenever.
    """

    domain: Word
    effector: Effector
    action: Word
    list: MemberName | None = None
    entry: Literal["terminal_id", "customer_id", "card_id", "account_id", "device_id"] | None = None
    with_reason: tuple[ReasonCode, ...] = ()
    not_after_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _list_is_named(self) -> Self:
        if (self.effector == "list") != (self.list is not None and self.entry is not None):
            raise ValueError("list and entry belong to the effector list, and to no other")
        return self


class FabricPolicy(Document):
    """Deadlines in milliseconds of the batch's time, and actions by outcome: each outcome is written out."""

    deadline_ms: Annotated[int, Field(strict=True, ge=0, le=60_000)] = 300
    early_snapshot_ms: Annotated[int, Field(strict=True, ge=0, le=600_000)] = 10_000
    actions: dict[Outcome, tuple[Action, ...]]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        absent = [outcome.value for outcome in Outcome if outcome not in self.actions]
        if absent:
            raise ValueError(f"actions: {', '.join(absent)} is not listed; an empty list is an answer")
        for outcome, actions in self.actions.items():
            repeated = [name for name, times in Counter(one.domain for one in actions).items() if times > 1]
            if repeated:
                raise ValueError(f"actions.{outcome}: two actions of the domain {', '.join(repeated)}")
        return self
