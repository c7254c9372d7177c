"""Encoding decisions and intents fast: those of one run that say the same differ in few places.

A template is made by encoding one event with marks in those places and cutting the bytes at the marks, so the
codec stays the one authority on the format; a test holds the two against each other. What differs otherwise
(attributions, text that is not plain ASCII) goes through the codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from services.decision_fabric.encoding import (
    Provenance,
    actions_of,
    decision_fields,
    intent_fields,
    intent_key,
)
from services.decision_fabric.intake import MILLISECOND, Ready
from services.decision_fabric.model import Fields, HeldPosture, Payment
from services.decision_fabric.policy import Action, FabricPolicy
from sluice_contracts import contract_for
from sluice_contracts.wire import NUMBER, moment
from sluice_decisions import Decision, Mode, Outcome
from sluice_decisions.postures import Posture

_DECISION: Final = contract_for("decision")
_INTENT: Final = contract_for("action_intent")
_TEMPLATES: Final = 512
_ID: Final = NUMBER[64]
_NULL: Final = "\x00"
_SOME: Final = "\x02"

Pins = tuple[str, str, str, str, str, int | None]


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


def pins_of(fields: Fields) -> Pins:
    """What ties an event to its run."""
    return (
        fields["manifest_fingerprint"],
        fields["tenant"],
        fields["parameter_hash"],
        fields["scenario_id"],
        fields["run_id"],
        fields["seed"],
    )


class BatchEncoder:
    """Encodes what one tenant's batch decided; `ready` and `decision` belong together.

    Templates are looked up once a run and verdict of the batch.
    """

    def __init__(self, provenance: Provenance, policy: FabricPolicy) -> None:
        self._provenance = provenance
        self._policy = policy
        self._decisions: dict[Any, Sequence[str]] = {}
        self._intents: dict[Any, Sequence[str]] = {}
        self._moments: dict[int, str] = {}
        self._basis = _plain(provenance.input_basis)

    def decision(self, own: str, ready: Ready, decision: Decision) -> bytes:
        """The framed `decision` event; `own` is its id."""
        payment = ready.payment
        fields, paid = payment.fields, payment.fields["payload"]
        event_id, payment_id, customer_id = fields["event_id"], paid["payment_id"], paid["customer_id"]
        if decision.attributions or not (event_id + payment_id + customer_id).isascii():
            return _DECISION.encode(decision_fields(ready, decision, self._provenance))
        pins, currency = pins_of(fields), paid["currency"]
        key = (
            pins,
            currency,
            payment.topic,
            decision.outcome,
            decision.mode,
            decision.reason_codes,
            decision.policy_revision,
            decision.bundle_id,
            decision.bundle_revision,
            decision.bundle_hash,
            decision.posture,
        )
        template = self._decisions.get(key)
        if template is None:
            shape = self._decision_shape(pins, currency, payment.topic, decision)
            template = self._decisions[key] = _decision_template(shape)
        kind, context, verdict, stand, ladder, place, start, end = template
        used = ready.snapshot if decision.snapshot_hash is not None else None
        about = f"{NUMBER[len(event_id)]}{event_id}"
        return (
            f"{start}{own}{kind}{moment(fields['ts_utc'])}{context}"
            f"{_SOME}{about}{_text(fields['traceparent'])}{about}{NUMBER[len(payment_id)]}{payment_id}"
            f"{NUMBER[len(customer_id)]}{customer_id}{NUMBER[paid['amount_minor']]}{verdict}"
            f"{_number(decision.score_ppm)}{stand}"
            f"{_text(decision.snapshot_hash)}{_number(decision.graph_version)}"
            f"{_text(None if used is None else used['graph_basis'])}{ladder}"
            f"{self._moment(decision.decided_at)}{_SOME}{self._moment(payment.deadline)}{place}"
            f"{NUMBER[payment.partition]}{NUMBER[payment.offset]}{self._basis}{end}"
        ).encode("latin-1")

    def intents(self, own: str, payment: Fields, decision: Decision) -> list[bytes]:
        """The framed `action_intent` events that the decision `own` asks for."""
        return [
            self._intent(own, payment, decision, action, entry)
            for action, entry in actions_of(payment, decision, self._policy)
        ]

    def _intent(
        self, own: str, payment: Fields, decision: Decision, action: Action, entry: str | None
    ) -> bytes:
        paid, revision = payment["payload"], self._policy.revision
        event_id, payment_id, customer_id = payment["event_id"], paid["payment_id"], paid["customer_id"]
        if not f"{event_id}{payment_id}{customer_id}{entry}".isascii():
            return _INTENT.encode(intent_fields(payment, decision, action, entry, revision))
        pins, currency, reason = pins_of(payment), paid["currency"], decision.reason_codes[0]
        key = (pins, currency, action.domain, decision.outcome, reason)
        template = self._intents.get(key)
        if template is None:
            shape = IntentShape(pins, currency, action, decision.outcome, reason, revision)
            template = self._intents[key] = _intent_template(shape)
        kind, context, what, money, outcome, start, end = template
        intent = intent_key(payment["tenant"], payment["run_id"], event_id, action.domain)
        waits = action.not_after_ms
        until = _NULL
        if waits is not None:
            until = f"{_SOME}{self._moment(decision.decided_at + waits * MILLISECOND)}"
        return (
            f"{start}{intent}{kind}{moment(payment['ts_utc'])}{context}"
            f"{_SOME}{_ID}{own}{_text(payment['traceparent'])}{_ID}{intent}{_ID}{own}"
            f"{NUMBER[len(event_id)]}{event_id}{NUMBER[len(customer_id)]}{customer_id}{what}"
            f"{NUMBER[len(payment_id)]}{payment_id}{NUMBER[paid['amount_minor']]}{money}"
            f"{_text(entry)}{outcome}{until}{end}"
        ).encode("latin-1")

    def _moment(self, time: int) -> str:
        """A time that many events of the batch share."""
        known = self._moments.get(time)
        if known is None:
            known = self._moments[time] = moment(time)
        return known

    def _decision_shape(self, pins: Pins, currency: str, topic: str, decision: Decision) -> DecisionShape:
        posture = self._provenance.posture
        return DecisionShape(
            pins,
            currency,
            topic,
            decision.outcome,
            decision.mode,
            decision.reason_codes,
            decision.policy_revision,
            (decision.bundle_id, decision.bundle_revision, decision.bundle_hash),
            self._provenance.feature_set_hash,
            decision.posture,
            None if posture is None else posture.event_id,
        )


def _plain(text: str) -> str:
    return f"{NUMBER[len(text)]}{text}"


def _text(text: str | None) -> str:
    return _NULL if text is None else f"{_SOME}{NUMBER[len(text)]}{text}"


def _number(number: int | None) -> str:
    return _NULL if number is None else f"{_SOME}{NUMBER[number]}"


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
def _decision_template(shape: DecisionShape) -> Sequence[str]:
    own, about, trace, payment_id, customer_id, snapshot, graph, basis, _ = _TEXT
    ts, amount, score, version, offset = _LONG
    decided, deadline = ts + 0x100, ts + 0x200
    posture = shape.posture_event_id
    payment = Payment(
        _marked_payment(shape.pins, shape.currency, (about, trace, payment_id, customer_id), ts, amount),
        shape.topic,
        _INT,
        offset,
        0,
        deadline,
    )
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
    fields = decision_fields(Ready(payment, {"graph_basis": graph}), decision, provenance)
    return _cut(
        _DECISION.encode({**fields, "event_id": own}),
        own,
        moment(ts),
        f"{_SOME}{_plain(about)}{_text(trace)}{_plain(about)}{_plain(payment_id)}{_plain(customer_id)}"
        f"{NUMBER[amount]}",
        _number(score),
        f"{_text(snapshot)}{_number(version)}{_text(graph)}",
        f"{moment(decided)}{_SOME}{moment(deadline)}",
        f"{NUMBER[_INT]}{NUMBER[offset]}{_plain(basis)}",
    )


@lru_cache(_TEMPLATES)
def _intent_template(shape: IntentShape) -> Sequence[str]:
    own, about, trace, payment_id, customer_id, parent, entry, _, _ = _TEXT
    ts, amount, until, _, _ = _LONG
    action = shape.action
    texts = (about, trace, payment_id, customer_id)
    payment = _marked_payment(shape.pins, shape.currency, texts, ts, amount)
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
        _INTENT.encode(marked),
        own,
        moment(ts),
        f"{_SOME}{_plain(parent)}{_text(trace)}{_plain(own)}{_plain(parent)}{_plain(about)}"
        f"{_plain(customer_id)}",
        f"{_plain(payment_id)}{NUMBER[amount]}",
        _text(entry),
        f"{_SOME}{moment(until)}",
    )


def _marked_payment(pins: Pins, currency: str, texts: Sequence[str], ts_utc: int, amount: int) -> Fields:
    """A payment with marks; `texts` are event id, traceparent, payment id and customer."""
    event_id, traceparent, payment_id, customer_id = texts
    manifest_fingerprint, tenant, parameter_hash, scenario_id, run_id, seed = pins
    return {
        "event_id": event_id,
        "ts_utc": ts_utc,
        "manifest_fingerprint": manifest_fingerprint,
        "tenant": tenant,
        "parameter_hash": parameter_hash,
        "scenario_id": scenario_id,
        "run_id": run_id,
        "seed": seed,
        "traceparent": traceparent,
        "payload": {
            "payment_id": payment_id,
            "customer_id": customer_id,
            "amount_minor": amount,
            "currency": currency,
        },
    }
