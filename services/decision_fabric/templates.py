"""Templates of decisions and intents: those of one run that say the same differ in few places.

A template is made by encoding one event with marks in those places and cutting the bytes at the marks, so the
codec stays the one authority on the format; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from services.decision_fabric.arrivals import Paid, Pins, Snapshot
from services.decision_fabric.encoding import Provenance, decision_fields, intent_fields
from services.decision_fabric.intake import Ready
from services.decision_fabric.model import Fields, HeldPosture
from services.decision_fabric.policy import Action
from sluice_contracts import contract_for
from sluice_contracts.wire import NUMBER, moment
from sluice_decisions import Attribution, Decision, Mode, Outcome, SnapshotView
from sluice_decisions.postures import Posture

DECISION: Final = contract_for("decision")
INTENT: Final = contract_for("action_intent")
_TEMPLATES: Final = 512
NULL: Final = "\x00"
SOME: Final = "\x02"
"""How a nullable field begins: without a value, with one."""
NO_ITEMS: Final = "\x00"
"""A list without items, and how any other ends."""


class DecisionShape(NamedTuple):
    """What decisions share that one template encodes."""

    pins: Pins
    currency: str
    topic: str
    outcome: Outcome
    mode: Mode
    reason_codes: tuple[str, ...]
    policy_revision: str
    bundle: tuple[str | None, str | None, str | None]
    feature_set_hash: str | None
    posture: Posture
    posture_event_id: str | None


class IntentShape(NamedTuple):
    """What intents share that one template encodes."""

    pins: Pins
    currency: str
    action: Action
    outcome: Outcome
    reason_code: str
    policy_revision: str


def plain_text(text: str) -> str:
    """A text on the wire."""
    return f"{NUMBER[len(text)]}{text}"


def nullable_text(text: str | None) -> str:
    """A nullable text on the wire."""
    return NULL if text is None else f"{SOME}{NUMBER[len(text)]}{text}"


def nullable_number(number: int | None) -> str:
    """A nullable number on the wire."""
    return NULL if number is None else f"{SOME}{NUMBER[number]}"


def listed_attributions(attributions: Sequence[Attribution]) -> str:
    """A decision's attributions on the wire; names of features are ASCII."""
    if not attributions:
        return NO_ITEMS
    items = [f"{plain_text(name)}{NUMBER[value]}{NUMBER[share]}" for name, value, share in attributions]
    return f"{NUMBER[len(items)]}{''.join(items)}{NO_ITEMS}"


# -- making templates --------------------------------------------------------------------------------

_TEXT: Final = [chr(0x10 + place) * 64 for place in range(9)]
_LONG: Final = [0x2A55_AA55_AA55_AA00 + place for place in range(5)]
_INT: Final = 0x2A55_AA55
"""Marks: values that stand for a place and occur in no event by themselves."""


def _cut(encoded: bytes, *marks: str) -> tuple[str, ...]:
    """What stands between the marks, then what stands before the first and behind the last."""
    rest = encoded.decode("latin-1")
    parts: list[str] = []
    for mark in marks:
        part, found, rest = rest.partition(mark)
        assert found, "the contract changed: a mark is not where it was"
        parts.append(part)
    return (*parts[1:], parts[0], rest)


@lru_cache(_TEMPLATES)
def decision_template(shape: DecisionShape) -> Sequence[str]:
    """What stands between id, time, subject to amount, score and attributions, snapshot, times, place.

    Last come what stands before the first and what stands behind the last.
    """
    own, about, trace, payment_id, customer_id, snapshot, graph, basis, _ = _TEXT
    ts, amount, score, version, offset = _LONG
    decided, deadline = ts + 0x100, ts + 0x200
    posture = shape.posture_event_id
    texts = (about, trace, payment_id, customer_id)
    place = (shape.topic, _INT, offset)
    payment = Paid.of(_marked_payment(shape.pins, shape.currency, texts, ts, amount), *place)
    bundle_id, bundle_revision, bundle_hash = shape.bundle
    decision = Decision(
        about,
        shape.outcome,
        shape.mode,
        shape.reason_codes,
        score,
        (),
        bundle_id,
        bundle_revision,
        bundle_hash,
        shape.policy_revision,
        snapshot,
        version,
        shape.posture,
        decided,
    )
    held = None if posture is None else HeldPosture(posture, "", [], 0)
    provenance = Provenance(held, shape.feature_set_hash, basis)
    used = Snapshot("", SnapshotView((), (), "", snapshot), graph)
    fields = decision_fields(Ready(payment, deadline, used), decision, provenance)
    return _cut(
        DECISION.encode({**fields, "event_id": own}),
        own,
        moment(ts),
        f"{SOME}{plain_text(about)}{nullable_text(trace)}{plain_text(about)}{plain_text(payment_id)}{plain_text(customer_id)}"
        f"{NUMBER[amount]}",
        f"{nullable_number(score)}{NO_ITEMS}",
        f"{nullable_text(snapshot)}{nullable_number(version)}{nullable_text(graph)}",
        f"{moment(decided)}{SOME}{moment(deadline)}",
        f"{NUMBER[_INT]}{NUMBER[offset]}{plain_text(basis)}",
    )


@lru_cache(_TEMPLATES)
def intent_template(shape: IntentShape) -> Sequence[str]:
    """What stands between id, time, decision to customer, payment and amount, list entry, and latest time.

    Last come what stands before the first and what stands behind the last.
    """
    own, about, trace, payment_id, customer_id, parent, entry, _, _ = _TEXT
    ts, amount, until, _, _ = _LONG
    action = shape.action
    texts = (about, trace, payment_id, customer_id)
    payment = Paid.of(_marked_payment(shape.pins, shape.currency, texts, ts, amount), "", 0, 0)
    decision = Decision(
        about,
        shape.outcome,
        Mode.MODEL,
        (shape.reason_code,),
        None,
        (),
        None,
        None,
        None,
        "",
        None,
        None,
        Posture.NORMAL,
        0,
    )
    fields = intent_fields(payment, decision, action, entry, shape.policy_revision)
    payload = {**fields["payload"], "idempotency_key": own, "decision_id": parent, "not_after": until}
    marked = {**fields, "event_id": own, "parent_event_id": parent, "payload": payload}
    return _cut(
        INTENT.encode(marked),
        own,
        moment(ts),
        f"{SOME}{plain_text(parent)}{nullable_text(trace)}{plain_text(own)}{plain_text(parent)}{plain_text(about)}"
        f"{plain_text(customer_id)}",
        f"{plain_text(payment_id)}{NUMBER[amount]}",
        nullable_text(entry),
        f"{SOME}{moment(until)}",
    )


def _marked_payment(pins: Pins, currency: str, texts: Sequence[str], ts_utc: int, amount: int) -> Fields:
    """A payment with marks; `texts` are event id, traceparent, payment id and customer."""
    event_id, traceparent, payment_id, customer_id = texts
    return {
        **pins._asdict(),
        "event_id": event_id,
        "ts_utc": ts_utc,
        "traceparent": traceparent,
        "payload": {
            "payment_id": payment_id,
            "customer_id": customer_id,
            "amount_minor": amount,
            "currency": currency,
        },
    }
