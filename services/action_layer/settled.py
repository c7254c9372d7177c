"""Intents that are settled when they are taken: written to the effect log, or denied.

Most are, so batches of them are read by columns, and their outcomes are put together from the bytes that
intent and outcome share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import orjson

from services.action_layer.authorisation import Authority, IntentKind, is_past
from services.action_layer.core import State, Verdict
from services.action_layer.documents import Account, first_outcome_ids, outcome_event
from services.action_layer.intents import (
    EFFECT_FIELDS,
    Fields,
    content_hash,
    effect_line,
    hash_of_content,
)
from sluice_contracts import Decoded, contract_for, decode
from sluice_contracts.wire import NUMBER
from sluice_kit.columnar import FlatColumns, read_flat

LOG: Final = "log"
EXECUTED: Final = Verdict(State.EXECUTED)
_INTENT: Final = contract_for("action_intent")
_OUTCOME: Final = contract_for("action_outcome")
_ID: Final = b"\x80\x01"
"""The length of a derived id."""
_BEGIN: Final = _OUTCOME.prefix + _ID
_KIND: Final = bytes([len(_OUTCOME.event_type) << 1]) + _OUTCOME.event_type.encode()
_NULL: Final = b"\x00"
_SOME: Final = b"\x02"
_SOME_TEXT: Final = "\x02"
_MOST_RULINGS: Final = 10_000
"""Kinds of intents that are remembered; a policy knows few, but anybody may ask for what it does not know."""
_NUMBERS: Final = frozenset({"amount_minor", "not_after"})
_CONTENT: Final = (
    "action",
    "amount_minor",
    "currency",
    "customer_id",
    "decision_id",
    "domain",
    "effector",
    "entry",
    "list",
    "not_after",
    "outcome",
    "payment_id",
    "reason_code",
    "subject_event_id",
)
"""The content of an intent, sorted by name as `hash_of_content` wants it."""
_LINE: Final = ("idempotency_key", "tenant", "run_id", *EFFECT_FIELDS, "at")
_EFFECT: Final = itemgetter(*map(_CONTENT.index, EFFECT_FIELDS))
"""The fields of the content that a line of the effect log tells."""


class Settled(NamedTuple):
    """An intent that is settled as it is taken. ``line`` is its effect, where that is a line of the log.

    ``state`` is the value of its State.
    """

    key: str
    content: bytes
    tenant: str
    subject_event_id: str
    effector: str
    not_after: int | None
    state: str
    lane_key: bytes
    event: bytes
    line: bytes | None


class _Shape(NamedTuple):
    """What outcomes of one verdict share: the bytes between and behind what stands in their intents."""

    between: bytes
    end: bytes


class _Ruling:
    """The standing verdict about a kind of intents; its shapes are of one batch, by the seed of their run."""

    __slots__ = ("executes", "shapes", "state", "verdict")

    def __init__(self, verdict: Verdict) -> None:
        self.verdict, self.state = verdict, verdict.outcome.value
        self.executes = verdict.outcome is State.EXECUTED
        self.shapes: dict[int | None, _Shape] = {}


def settled(intent: Fields, verdict: Verdict, authority: Authority, now: int) -> Settled:
    """One decoded intent with its verdict."""
    payload, executes = intent["payload"], verdict.outcome is State.EXECUTED
    event = outcome_event(intent, verdict, 1, Account(int(executes), now, now, authority.revision))
    writes = executes and authority.effectors[payload["effector"]] == LOG
    return Settled(
        payload["idempotency_key"],
        content_hash(intent),
        intent["tenant"],
        payload["subject_event_id"],
        payload["effector"],
        payload["not_after"],
        verdict.outcome.value,
        event.key,
        event.value,
        effect_line(intent, now) if writes else None,
    )


class SettledReader:
    """Reads those intents of a batch that the policy settles, whatever else stands in them."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._rulings: dict[tuple[str, str, str, str, str], _Ruling | None] = {}

    def read(self, values: Sequence[bytes | None], now: int) -> dict[int, Settled]:
        """By place in the batch; every other intent is to be looked at by itself."""
        columns, _ = read_flat(_INTENT, values)
        if columns is None:
            return {}
        if len(self._rulings) > _MOST_RULINGS:
            self._rulings.clear()
        for ruling in filter(None, self._rulings.values()):
            ruling.shapes.clear()
        return dict(self._settled(columns, values, now))

    def _settled(
        self, columns: FlatColumns, values: Sequence[bytes | None], now: int
    ) -> Iterator[tuple[int, Settled]]:
        outcome_ids = map(str.encode, first_outcome_ids(_texts(columns, "payload.idempotency_key")))
        for row, outcome in zip(_rows(columns), outcome_ids, strict=True):
            place, tenant, run_id, seed, trace, key, own, context, about, content = row
            action, *_, domain, effector, _, _, not_after, asked_outcome, _, _, subject = content
            ruling = self._ruling((tenant, effector, action, domain, asked_outcome))
            if ruling is None or (ruling.executes and is_past(not_after, now)):
                continue
            head = b"".join((_BEGIN, outcome, _KIND, context))
            middle = b"".join((_SOME, own, _traceparent(trace), own, about))
            shape = ruling.shapes.get(seed)
            if shape is None:
                shape = ruling.shapes[seed] = self._shape(ruling, values[place], head, middle, now)
            line = _line(key, tenant, run_id, content, now) if ruling.executes else None
            event = b"".join((head, shape.between, middle, shape.end))
            asked = dict(zip(_CONTENT, content, strict=True))
            yield (
                place,
                Settled(
                    key,
                    hash_of_content(tenant, run_id, asked),
                    tenant,
                    subject,
                    effector,
                    not_after,
                    ruling.state,
                    run_id.encode(),
                    event,
                    line,
                ),
            )

    def _ruling(self, asked: tuple[str, str, str, str, str]) -> _Ruling | None:
        """The ruling about the intents of a kind, given as the fields of `IntentKind`."""
        try:
            return self._rulings[asked]
        except KeyError:
            kind = IntentKind(*asked)
            verdict = self._authority.standing_objection(kind)
            if verdict is None and self._authority.effectors[kind.effector] == LOG:
                verdict = EXECUTED
            ruling = self._rulings[kind] = None if verdict is None else _Ruling(verdict)
            return ruling

    def _shape(self, ruling: _Ruling, value: bytes | None, head: bytes, middle: bytes, now: int) -> _Shape:
        """Encode one outcome as any other is, and take what stands around the pieces of its intent."""
        content = decode(value)
        assert isinstance(content, Decoded), content
        event = settled(content.fields, ruling.verdict, self._authority, now).event
        assert event.startswith(head), "the contracts of intent and outcome do not begin alike any more"
        at = event.index(middle, len(head))
        return _Shape(event[len(head) : at], event[at + len(middle) :])


def _rows(columns: FlatColumns) -> Iterator[tuple[Any, ...]]:
    """Of each intent: place, tenant, run_id, seed, traceparent, key, pieces of its bytes, its content.

    The pieces are its id, what stands from its time to its run, and from its key to its action.
    """
    texts, numbers = columns.texts, columns.numbers
    content = [(numbers if name in _NUMBERS else texts)(f"payload.{name}") for name in _CONTENT]
    return zip(
        columns.rows,
        texts("tenant"),
        texts("run_id"),
        numbers("seed"),
        texts("traceparent"),
        texts("payload.idempotency_key"),
        columns.encoded("event_id", "event_id"),
        columns.encoded("event_type", "run_id", behind=True),
        columns.encoded("payload.idempotency_key", "payload.action"),
        zip(*content, strict=True),
        strict=True,
    )


def _line(key: str, tenant: str, run_id: str, content: tuple[Any, ...], now: int) -> bytes:
    """What `effect_line` gives for these fields."""
    told = (key, tenant, run_id, *_EFFECT(content), now)
    return orjson.dumps(dict(zip(_LINE, told, strict=True)), option=orjson.OPT_APPEND_NEWLINE)


def _texts(columns: FlatColumns, path: str) -> Sequence[str]:
    """A field of texts that are never null."""
    texts: Any = columns.texts(path)
    return texts  # type: ignore[no-any-return]


def _traceparent(text: str | None) -> bytes:
    return _NULL if text is None else f"{_SOME_TEXT}{NUMBER[len(text)]}{text}".encode("latin-1")
