"""Writing what a batch decided: decisions and intents from templates, numbers and times by columns.

Payments of one run with the same verdict share a plan: the ids' beginnings and what stands between the places
in which their events differ. Text that is not plain ASCII goes through the codec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import starmap
from typing import Any, Final, NamedTuple

import numpy as np

from services.decision_fabric.arrivals import Paid, Pins
from services.decision_fabric.encoding import (
    Provenance,
    actions_for,
    actions_of,
    decision_fields,
    entry_of,
    intent_fields,
)
from services.decision_fabric.intake import MILLISECOND, Ready
from services.decision_fabric.policy import Action, FabricPolicy
from services.decision_fabric.templates import (
    DECISION,
    INTENT,
    NULL,
    SOME,
    DecisionShape,
    IntentShape,
    decision_template,
    intent_template,
    listed_attributions,
    nullable_number,
    nullable_text,
    plain_text,
)
from sluice_contracts import decision_id, intent_id
from sluice_contracts.wire import NUMBER, moment, numbers
from sluice_decisions import Decision
from sluice_kit.columnar.varints import moments

_ID: Final = NUMBER[64]


Written = tuple[bytes, list[bytes]]
"""A decision on the wire, and the intents that it asks for."""


class _Asked(NamedTuple):
    """An action, and what stands between the places in which its intents differ."""

    action: Action
    start: str
    kind: str
    context: str
    what: str
    money: str
    end: str


class _Plan(NamedTuple):
    """How payments of one run that got the same verdict are written."""

    asked: Sequence[_Asked]
    start: str
    kind: str
    context: str
    verdict: str
    stand: str
    ladder: str
    place: str
    end: str


_Differing = tuple[str, str, str, str, str, str, str]
"""Where the events about one payment differ from others of their plan, as it stands on the wire.

Decision's id, time, trace, subject, payment, customer, amount.
"""


class _Nullable(dict[str | int | None, str]):
    """Nullable numbers and texts on the wire, kept for a batch: many of its events share them."""

    def __missing__(self, value: str | int | None) -> str:
        written = self[value] = nullable_number(value) if isinstance(value, int) else nullable_text(value)
        return written


class _Moments(dict[int, str]):
    """Times on the wire, kept for a batch."""

    def __missing__(self, time: int) -> str:
        written = self[time] = moment(time)
        return written


class BatchEncoder:
    """Encodes what one tenant's batch decided: at one time and posture, with one bundle or without.

    Templates are looked up once a run and verdict.
    """

    def __init__(self, provenance: Provenance, policy: FabricPolicy) -> None:
        self._provenance = provenance
        self._policy = policy
        self._plans: dict[Any, _Plan] = {}
        self._nullable = _Nullable()
        self._moments = _Moments()
        self._basis = plain_text(provenance.input_basis)

    def written(self, ready: Sequence[Ready], decisions: Sequence[Decision]) -> Iterator[Written]:
        """The framed events about each payment; `ready` and `decisions` belong together."""
        payments = [one.payment for one in ready]
        times = moments(np.array([one.ts_utc for one in payments], np.int64))
        amounts = numbers([one.amount_minor for one in payments])
        offsets = numbers([one.offset for one in payments])
        return starmap(self._written, zip(ready, decisions, times, amounts, offsets, strict=True))

    def _written(self, ready: Ready, decision: Decision, time: str, amount: str, offset: str) -> Written:
        payment = ready.payment
        event_id, payment_id, customer_id = payment.event_id, payment.payment_id, payment.customer_id
        if not (event_id + payment_id + customer_id).isascii():
            return self._by_codec(ready, decision)
        plan = self._plan(payment, decision)
        differing = (
            decision_id(payment.tenant, payment.run_id, event_id),
            time,
            self._nullable[payment.traceparent],
            f"{NUMBER[len(event_id)]}{event_id}",
            f"{NUMBER[len(payment_id)]}{payment_id}",
            f"{NUMBER[len(customer_id)]}{customer_id}",
            amount,
        )
        intents = [
            intent
            for asked in plan.asked
            if (intent := self._intent(asked, payment, decision, differing)) is not None
        ]
        return self._decision(plan, ready, decision, differing, offset), intents

    def _decision(
        self, plan: _Plan, ready: Ready, decision: Decision, differing: _Differing, offset: str
    ) -> bytes:
        own, time, trace, about, payment_id, customer_id, amount = differing
        _, start, kind, context, verdict, stand, ladder, place, end = plan
        nullable, snapshot_hash, basis = self._nullable, decision.snapshot_hash, NULL
        attributions = listed_attributions(decision.attributions)
        if snapshot_hash is not None and ready.snapshot is not None:
            basis = nullable[ready.snapshot.graph_basis]
        return (
            f"{start}{own}{kind}{time}{context}{about}{trace}{about}{payment_id}{customer_id}{amount}{verdict}"
            f"{nullable[decision.score_ppm]}{attributions}{stand}"
            f"{nullable_text(snapshot_hash)}{nullable[decision.graph_version]}{basis}{ladder}{self._moments[ready.deadline]}{place}"
            f"{NUMBER[ready.payment.partition]}{offset}{self._basis}{end}"
        ).encode("latin-1")

    def _intent(
        self, asked: _Asked, payment: Paid, decision: Decision, differing: _Differing
    ) -> bytes | None:
        """None where the payment has nothing that could join the action's list."""
        action, start, kind, context, what, money, end = asked
        joining = NULL
        if action.entry is not None:
            entry = entry_of(payment, action)
            if entry is None:
                return None
            if not entry.isascii():
                fields = intent_fields(payment, decision, action, entry, self._policy.revision)
                return INTENT.encode(fields)
            joining = nullable_text(entry)
        own = intent_id(payment.tenant, payment.run_id, payment.event_id, action.domain)
        decided, time, trace, about, payment_id, customer_id, amount = differing
        return (
            f"{start}{own}{kind}{time}{context}{decided}{trace}{_ID}{own}{_ID}{decided}{about}{customer_id}"
            f"{what}{payment_id}{amount}{money}{joining}{end}"
        ).encode("latin-1")

    def _by_codec(self, ready: Ready, decision: Decision) -> Written:
        payment, revision = ready.payment, self._policy.revision
        intents = [
            INTENT.encode(intent_fields(payment, decision, action, entry, revision))
            for action, entry in actions_of(payment, decision, self._policy)
        ]
        return DECISION.encode(decision_fields(ready, decision, self._provenance)), intents

    def _plan(self, payment: Paid, decision: Decision) -> _Plan:
        key = (
            payment.pins,
            payment.currency,
            payment.topic,
            decision.outcome,
            decision.mode,
            decision.reason_codes,
            decision.bundle_hash,
        )
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._planned(payment, decision)
        return plan

    def _planned(self, payment: Paid, decision: Decision) -> _Plan:
        pins, posture = payment.pins, self._provenance.posture
        shape = DecisionShape(
            pins,
            payment.currency,
            payment.topic,
            decision.outcome,
            decision.mode,
            decision.reason_codes,
            decision.policy_revision,
            (decision.bundle_id, decision.bundle_revision, decision.bundle_hash),
            self._provenance.feature_set_hash,
            decision.posture,
            None if posture is None else posture.event_id,
        )
        kind, context, verdict, stand, ladder, place, start, end = decision_template(shape)
        return _Plan(
            [
                self._asked(pins, payment.currency, action, decision)
                for action in actions_for(decision, self._policy)
            ],
            start,
            kind,
            f"{context}{SOME}",
            verdict,
            stand,
            f"{ladder}{moment(decision.decided_at)}{SOME}",
            place,
            end,
        )

    def _asked(self, pins: Pins, currency: str, action: Action, decision: Decision) -> _Asked:
        reason, revision = decision.reason_codes[0], self._policy.revision
        shape = IntentShape(pins, currency, action, decision.outcome, reason, revision)
        kind, context, what, money, outcome, start, end = intent_template(shape)
        until, waits = NULL, action.not_after_ms
        if waits is not None:
            until = f"{SOME}{moment(decision.decided_at + waits * MILLISECOND)}"
        return _Asked(action, start, kind, f"{context}{SOME}{_ID}", what, money, f"{outcome}{until}{end}")
