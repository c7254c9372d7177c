"""What a record of the bus says about a payment's chain, with as little decoding as that takes.

One record at a time: many at once are read by `link_columns`, in a third of the time. Most receipts concern
no payment and are passed over by one search; the others are read as far as needed, in about half the time
that the codec takes. The tests hold every answer against the codec. Bytes that are laid out otherwise
(another version of the contract, very long texts) are decoded whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple

from services.decision_log.decision_bytes import OtherLayoutError, snapshot_of_decision
from sluice_contracts import Decoded, contract_for, decode


class Kind(StrEnum):
    """Links of a chain; the payment itself stands in no record, it only tells its time."""

    PAYMENT = "payment"
    RECEIPT = "receipt"
    SNAPSHOT = "snapshot"
    DECISION = "decision"
    INTENT = "action_intent"
    OUTCOME = "action_outcome"


TOPIC_OF: Final[Mapping[Kind, str]] = {
    Kind.PAYMENT: "traffic.payment",
    Kind.RECEIPT: "audit.receipt",
    Kind.SNAPSHOT: "state.online_features.snapshot",
    Kind.DECISION: "traffic.decision",
    Kind.INTENT: "traffic.action_intent",
    Kind.OUTCOME: "traffic.action_outcome",
}


class Link(NamedTuple):
    """One link. `key` is (tenant, run_id, event_id of the payment), `ts_utc` its time where that is read.

    `id` is the record's own id (a snapshot's hash), `digest` the sha256 of its bytes. `about` is the intent
    that an outcome answers; `says` is an outcome, or the hash of the snapshot that a decision used ('' for
    none).
    """

    kind: Kind
    key: tuple[str, str, str]
    id: str
    digest: bytes
    ts_utc: int | None
    about: str = ""
    says: str = ""


class Unreadable(NamedTuple):
    """Bytes that are none of ours."""

    detail: str


def link_reader(kind: Kind) -> Callable[[bytes | None], Link | Unreadable | None]:
    """The reader of a topic's values; it gives None for what concerns no payment.

    A reader remembers the pins of the run that it met last, so each belongs to one thread.
    """
    skim = _SKIMMERS[kind]()
    whole = _WHOLE[kind]

    def read(value: bytes | None) -> Link | Unreadable | None:
        if value is None:
            return Unreadable("EMPTY: a record without a value")
        try:
            return skim(value)
        except (IndexError, ValueError, OtherLayoutError):
            content = decode(value)
            if not isinstance(content, Decoded):
                return Unreadable(f"{content.code}: {content.detail}")
            if content.contract.event_type != CONTRACTS[kind].event_type:
                return Unreadable(f"WRONG_TYPE: {content.contract.event_type} on {TOPIC_OF[kind]}")
            return whole(content.fields, sha256(value).digest())

    return read


# -- by position

_FRAME: Final = 5
CONTRACTS: Final = {
    Kind.PAYMENT: contract_for("payment"),
    Kind.RECEIPT: contract_for("receipt"),
    Kind.SNAPSHOT: contract_for("feature_snapshot"),
    Kind.DECISION: contract_for("decision"),
    Kind.INTENT: contract_for("action_intent"),
    Kind.OUTCOME: contract_for("action_outcome"),
}
_ADMITTED: Final = b"\x0aADMIT\x00\x02"
"""Of a receipt: the decision, no reason codes, and that there is a subject."""
_OF_A_PAYMENT: Final = b"\x02\x0epayment\x02"
HASH_LENGTH: Final = b"\x80\x01"
"""Before the text of a hash."""
_CONTINUED: Final = 0x80808080808080
HASH_BYTES: Final = 66
"""Of a hash with its length."""


class _Envelopes:
    """Reads envelopes of one contract. What is the same in all events of a run is compared only."""

    def __init__(self, kind: Kind) -> None:
        contract = CONTRACTS[kind]
        self._prefix = contract.prefix
        name = contract.event_type.encode()
        self._type = bytes([len(name) << 1]) + name
        self._pins = b"\xff"
        self._run = ("", "")

    def read(self, value: bytes) -> tuple[str, int, tuple[str, str], int]:
        """Event id, where `ts_utc` stands, (tenant, run_id), where the envelope goes on after the seed."""
        if not value.startswith(self._prefix):
            raise OtherLayoutError
        event_id, at = _text(value, _FRAME)
        if not value.startswith(self._type, at):
            raise OtherLayoutError
        time_at = at + len(self._type)
        at = _after_number(value, time_at)
        if value.startswith(self._pins, at):
            return event_id, time_at, self._run, at + len(self._pins)
        return event_id, time_at, *self._new_run(value, at)

    def _new_run(self, value: bytes, start: int) -> tuple[tuple[str, str], int]:
        _, at = _number(value, start)  # schema_version
        _, at = _text(value, at)
        tenant, at = _text(value, at)
        _, at = _text(value, at)
        _, at = _text(value, at)
        run_id, at = _text(value, at)
        at = _after_nullable_number(value, at)
        self._pins, self._run = value[start:at], (tenant, run_id)
        return self._run, at


def _text(value: bytes, at: int) -> tuple[str, int]:
    length = value[at]
    at += 1
    if length >= 128:
        length = (length & 127) | value[at] << 7
        at += 1
    if length & 1 or length >= 1 << 14:
        raise OtherLayoutError
    end = at + (length >> 1)
    text = value[at:end]
    if len(text) != length >> 1:
        raise OtherLayoutError
    return text.decode("ascii"), end


def _number(value: bytes, at: int) -> tuple[int, int]:
    octet = value[at]
    at += 1
    number, shift = octet & 127, 7
    while octet >= 128:
        octet = value[at]
        at += 1
        number |= (octet & 127) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), at


def _after_number(value: bytes, at: int) -> int:
    """A time of today has eight bytes, of which the last is the first below 128."""
    if value[at + 7] < 128 and value[at + 6] >= 128 and value[at] >= 128:
        found = int.from_bytes(value[at : at + 7], "little") & _CONTINUED
        if found == _CONTINUED:
            return at + 8
    return _number(value, at)[1]


def _after_nullable_number(value: bytes, at: int) -> int:
    return at + 1 if value[at] == 0 else _after_number(value, at + 1)


def _after_text(value: bytes, at: int) -> int:
    length = value[at]
    if length < 128:
        return at + 1 + (length >> 1)
    if value[at + 1] >= 128:
        raise OtherLayoutError
    return at + 2 + (((length & 127) | value[at + 1] << 7) >> 1)


def _payload(value: bytes, at: int) -> int:
    """Where the payload begins: behind emitted_at_utc, producer, parent_event_id and traceparent."""
    at = _after_text(value, _after_nullable_number(value, at))
    at = at + 1 if value[at] == 0 else _after_text(value, at + 1)
    return at + 1 if value[at] == 0 else _after_text(value, at + 1)


def _payment_skimmer() -> Callable[[bytes], Link]:
    envelopes = _Envelopes(Kind.PAYMENT)

    def skim(value: bytes) -> Link:
        event_id, time_at, run, _ = envelopes.read(value)
        return Link(Kind.PAYMENT, (*run, event_id), event_id, b"", _number(value, time_at)[0])

    return skim


def _receipt_skimmer() -> Callable[[bytes], Link | None]:
    envelopes = _Envelopes(Kind.RECEIPT)
    prefix = CONTRACTS[Kind.RECEIPT].prefix

    def skim(value: bytes) -> Link | None:
        if not value.startswith(prefix):
            raise OtherLayoutError
        at = value.find(_ADMITTED)  # no text before it may hold control characters
        if at < 0:
            return None
        subject, at = _text(value, at + len(_ADMITTED))
        if not value.startswith(_OF_A_PAYMENT, at):
            return None
        event_id, _, run, _ = envelopes.read(value)
        return Link(Kind.RECEIPT, (*run, subject), event_id, sha256(value).digest(), None)

    return skim


def _snapshot_skimmer() -> Callable[[bytes], Link]:
    prefix = CONTRACTS[Kind.SNAPSHOT].prefix

    def skim(value: bytes) -> Link:
        if not value.startswith(prefix) or value[-HASH_BYTES:-64] != HASH_LENGTH:
            raise OtherLayoutError
        tenant, at = _text(value, _FRAME)
        run_id, at = _text(value, at)
        event_id, at = _text(value, at)
        as_of, _ = _number(value, at)
        snapshot_hash = value[-64:].decode("ascii")
        return Link(Kind.SNAPSHOT, (tenant, run_id, event_id), snapshot_hash, b"", as_of)

    return skim


def _decision_skimmer() -> Callable[[bytes], Link]:
    envelopes = _Envelopes(Kind.DECISION)

    def skim(value: bytes) -> Link:
        event_id, time_at, run, at = envelopes.read(value)
        subject, at = _text(value, _payload(value, at))
        used = snapshot_of_decision(value, at)
        ts_utc, _ = _number(value, time_at)
        return Link(Kind.DECISION, (*run, subject), event_id, sha256(value).digest(), ts_utc, "", used)

    return skim


def _intent_skimmer() -> Callable[[bytes], Link]:
    envelopes = _Envelopes(Kind.INTENT)

    def skim(value: bytes) -> Link:
        event_id, _, run, at = envelopes.read(value)
        at = _after_text(value, _after_text(value, _payload(value, at)))  # idempotency_key, decision_id
        subject, _ = _text(value, at)
        return Link(Kind.INTENT, (*run, subject), event_id, sha256(value).digest(), None)

    return skim


def _outcome_skimmer() -> Callable[[bytes], Link]:
    envelopes = _Envelopes(Kind.OUTCOME)

    def skim(value: bytes) -> Link:
        event_id, _, run, at = envelopes.read(value)
        intent, at = _text(value, _payload(value, at))
        subject, at = _text(value, _after_text(value, _after_text(value, at)))
        for _ in range(4):  # customer_id, domain, effector, action
            at = _after_text(value, at)
        outcome, _ = _text(value, at)
        digest = sha256(value).digest()
        return Link(Kind.OUTCOME, (*run, subject), event_id, digest, None, intent, outcome)

    return skim


_SKIMMERS: Final[Mapping[Kind, Callable[[], Callable[[bytes], Link | None]]]] = {
    Kind.PAYMENT: _payment_skimmer,
    Kind.RECEIPT: _receipt_skimmer,
    Kind.SNAPSHOT: _snapshot_skimmer,
    Kind.DECISION: _decision_skimmer,
    Kind.INTENT: _intent_skimmer,
    Kind.OUTCOME: _outcome_skimmer,
}

# -- decoded whole


def _run_of(fields: Mapping[str, Any]) -> tuple[str, str]:
    return fields["tenant"], fields["run_id"]


def _whole_payment(fields: Mapping[str, Any], digest: bytes) -> Link:
    del digest
    event_id = fields["event_id"]
    return Link(Kind.PAYMENT, (*_run_of(fields), event_id), event_id, b"", fields["ts_utc"])


def _whole_receipt(fields: Mapping[str, Any], digest: bytes) -> Link | None:
    payload = fields["payload"]
    if payload["decision"] != "ADMIT" or payload["subject_event_type"] != "payment":
        return None
    key = (*_run_of(fields), payload["subject_event_id"])
    return Link(Kind.RECEIPT, key, fields["event_id"], digest, None)


def _whole_snapshot(fields: Mapping[str, Any], digest: bytes) -> Link:
    del digest
    key = (*_run_of(fields), fields["event_id"])
    return Link(Kind.SNAPSHOT, key, fields["snapshot_hash"], b"", fields["as_of"])


def _whole_decision(fields: Mapping[str, Any], digest: bytes) -> Link:
    payload = fields["payload"]
    used = payload["snapshot_hash"] or ""
    return _about_payment(Kind.DECISION, fields, digest, "", used)


def _whole_intent(fields: Mapping[str, Any], digest: bytes) -> Link:
    return _about_payment(Kind.INTENT, fields, digest)


def _whole_outcome(fields: Mapping[str, Any], digest: bytes) -> Link:
    payload = fields["payload"]
    return _about_payment(Kind.OUTCOME, fields, digest, payload["intent_event_id"], payload["outcome"])


def _about_payment(
    kind: Kind, fields: Mapping[str, Any], digest: bytes, about: str = "", says: str = ""
) -> Link:
    key = (*_run_of(fields), fields["payload"]["subject_event_id"])
    ts_utc = fields["ts_utc"] if kind is Kind.DECISION else None
    return Link(kind, key, fields["event_id"], digest, ts_utc, about, says)


_WHOLE: Final[Mapping[Kind, Callable[[Mapping[str, Any], bytes], Link | None]]] = {
    Kind.PAYMENT: _whole_payment,
    Kind.RECEIPT: _whole_receipt,
    Kind.SNAPSHOT: _whole_snapshot,
    Kind.DECISION: _whole_decision,
    Kind.INTENT: _whole_intent,
    Kind.OUTCOME: _whole_outcome,
}
