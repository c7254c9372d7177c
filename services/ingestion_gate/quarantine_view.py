"""Quarantine as people see it: a list newest first, one record with its evidence, and where it stands."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, Field

from services.ingestion_gate.governance_ledger import GovernanceLedger, QuarantineStatus
from services.ingestion_gate.receipt_lookup import ReceiptLookup
from services.ingestion_gate.receipts import QUARANTINE_TOPIC
from sluice_contracts import Decoded, decode
from sluice_kit.artifacts import ArtifactError, ArtifactStore, Digest, Locator
from sluice_kit.kafka.record_fetcher import RecordFetcher
from sluice_kit.receipts import CoordinateView, EvidenceRefView, ReceiptView, moment_text
from sluice_kit.stage import Coordinate

_WINDOW: Final = 500
_MAX_SCANNED: Final = 20_000


class ActionView(BaseModel):
    """What an operator did to a quarantined record."""

    action_id: str
    kind: str
    actor: str
    reason: str
    at: str


class QuarantineItem(BaseModel):
    """One quarantined record, without its original."""

    quarantine_id: str
    status: QuarantineStatus
    reason_codes: list[str]
    detail: str | None
    principal: str
    tenant: str
    run_id: str | None
    event_id: str | None = Field(description="of the original, where it could be read")
    lane: CoordinateView | None
    quarantined_at: str
    receipt_id: str
    coordinate: CoordinateView = Field(description="where the record stands on audit.quarantine")


class Evidence(BaseModel):
    """The original as it arrived. ``fields`` is its content where it can be decoded; bytes are base64.

    ``problem`` says why the original cannot be shown.
    """

    source: Literal["artifact", "inline", "none"]
    ref: EvidenceRefView | None
    problem: str | None = None
    value_base64: str | None = None
    key_base64: str | None = None
    headers: list[tuple[str, str | None]] = Field(default=[], description="names and base64 values")
    decode_problem: str | None = None
    fields: dict[str, Any] | None = None


class QuarantineDetail(QuarantineItem):
    """One quarantined record with everything that is known about it."""

    evidence: Evidence
    receipts: list[ReceiptView]
    actions: list[ActionView]


class QuarantinePage(BaseModel):
    """Newest first; ``next_page`` None: there are no older ones."""

    items: list[QuarantineItem]
    next_page: str | None


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """None: any."""

    reason: str | None = None
    tenant: str | None = None
    run_id: str | None = None
    lane: str | None = None
    status: QuarantineStatus | None = None

    def admits(self, item: QuarantineItem) -> bool:
        """Whether an item is asked for."""
        return (
            (self.reason is None or self.reason in item.reason_codes)
            and self.tenant in {None, item.tenant}
            and self.run_id in {None, item.run_id}
            and (self.lane is None or (item.lane is not None and item.lane.topic == self.lane))
            and self.status in {None, item.status}
        )


@dataclass(frozen=True, slots=True)
class Original:
    """A quarantined record as it came: what a release hands to the gate again."""

    lane: str
    value: bytes


class QuarantineView:
    """Blocking, for worker threads. Raises FetchTimeoutError."""

    def __init__(
        self, lookup: ReceiptLookup, fetcher: RecordFetcher, ledger: GovernanceLedger, store: ArtifactStore
    ) -> None:
        self._lookup, self._fetcher, self._ledger, self._store = lookup, fetcher, ledger, store

    def page(self, chosen: QuarantineFilter, before: int | None, size: int) -> QuarantinePage:
        """Up to ``size`` items below offset ``before``, newest first.

        Looks at no more than 20,000 records, so that a rare filter answers too: fewer items, and a next page.
        """
        low, end = self._fetcher.bounds(QUARANTINE_TOPIC, 0)
        top = min(end, before) if before is not None else end
        items: list[QuarantineItem] = []
        at = top
        while at > low and top - at < _MAX_SCANNED:
            start = max(low, at - _WINDOW)
            for offset, value in reversed(self._fetcher.read_range(QUARANTINE_TOPIC, 0, start, at)):
                item = self._item_of(Coordinate(QUARANTINE_TOPIC, 0, offset), value)
                if item is None or not chosen.admits(item):
                    continue
                items.append(item)
                if len(items) == size:
                    return QuarantinePage(items=items, next_page=page_token(offset) if offset > low else None)
            at = start
        return QuarantinePage(items=items, next_page=page_token(at) if at > low else None)

    def item(self, quarantine_id: str) -> tuple[QuarantineItem, Mapping[str, Any]] | None:
        """One record and its decoded fields."""
        found = self._lookup.quarantined(quarantine_id)
        return None if found is None else (self._item(*found), found[1])

    def detail(self, quarantine_id: str) -> QuarantineDetail | None:
        """One record with evidence, receipts and actions."""
        found = self.item(quarantine_id)
        if found is None:
            return None
        item, fields = found
        asked = item.event_id or item.receipt_id
        return QuarantineDetail(
            **item.model_dump(),
            evidence=self._evidence(fields["payload"]),
            receipts=self._lookup.receipts(asked, tenant=item.tenant).receipts,
            actions=[
                ActionView(
                    action_id=entry.action_id,
                    kind=entry.kind,
                    actor=entry.actor,
                    reason=entry.reason,
                    at=moment_text(entry.at),
                )
                for entry in self._ledger.actions_on(quarantine_id)
            ],
        )

    def original(self, fields: Mapping[str, Any]) -> Original | str:
        """The original of a quarantine record, or why it cannot be had."""
        payload = fields["payload"]
        kept = self._kept(payload)
        if isinstance(kept, str):
            return kept
        lane = payload["lane_topic"] or kept.get("lane")
        if kept["value"] is None or not isinstance(lane, str):
            return "the original has no value or no lane; it can only be discarded"
        return Original(lane, base64.b64decode(kept["value"]))

    def _item_of(self, coordinate: Coordinate, value: bytes) -> QuarantineItem | None:
        decoded = decode(value)
        return self._item(coordinate, decoded.fields) if isinstance(decoded, Decoded) else None

    def _item(self, coordinate: Coordinate, fields: Mapping[str, Any]) -> QuarantineItem:
        payload = fields["payload"]
        lane = payload["lane_topic"]
        return QuarantineItem(
            quarantine_id=payload["quarantine_id"],
            status=self._ledger.status_of(payload["quarantine_id"]),
            reason_codes=payload["reason_codes"],
            detail=payload["detail"],
            principal=payload["principal"],
            tenant=fields["tenant"],
            run_id=payload["subject_run_id"],
            event_id=payload["subject_event_id"],
            lane=None
            if lane is None
            else CoordinateView(
                topic=lane, partition=payload["lane_partition"], offset=payload["lane_offset"]
            ),
            quarantined_at=moment_text(fields["ts_utc"]),
            receipt_id=payload["receipt_id"],
            coordinate=CoordinateView(**coordinate._asdict()),
        )

    def _kept(self, payload: Mapping[str, Any]) -> dict[str, Any] | str:
        """What was kept of the original (lane, key, value, headers in base64), or why it cannot be read."""
        ref = payload["evidence_ref"]
        if ref is None:
            value, headers = payload["inline_original"], payload["inline_headers"]
            kept = None if value is None else base64.b64encode(value).decode()
            return {"lane": None, "key": None, "value": kept, "headers": orjson.loads(headers or "[]")}
        locator = Locator(
            uri=ref["uri"],
            digest=Digest(algo=ref["digest_algo"], hash=ref["digest_hash"]),
            bytes=ref["bytes"],
        )
        try:
            line = self._store.read(locator).split(b"\n")[ref["index"]]
            content: dict[str, Any] = orjson.loads(line)
        except (ArtifactError, IndexError, orjson.JSONDecodeError) as error:
            return str(error)
        return content

    def _evidence(self, payload: Mapping[str, Any]) -> Evidence:
        ref = None if payload["evidence_ref"] is None else EvidenceRefView(**payload["evidence_ref"])
        kept = self._kept(payload)
        if isinstance(kept, str):
            return Evidence(source="artifact", ref=ref, problem=kept)
        value = kept["value"]
        if value is None and ref is None:
            return Evidence(source="none", ref=None, problem="the original had no value")
        decoded = decode(None if value is None else base64.b64decode(value))
        sound = isinstance(decoded, Decoded)
        return Evidence(
            source="inline" if ref is None else "artifact",
            ref=ref,
            value_base64=value,
            key_base64=kept["key"],
            headers=kept["headers"],
            decode_problem=None if isinstance(decoded, Decoded) else f"{decoded.code}: {decoded.detail}",
            fields=_shown(decoded.fields) if isinstance(decoded, Decoded) and sound else None,
        )


def _shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as JSON can hold them: bytes become base64."""
    as_json: Callable[[object], str] = lambda value: base64.b64encode(value).decode()  # type: ignore[arg-type]  # noqa: E731
    shown: dict[str, Any] = orjson.loads(orjson.dumps(fields, as_json))
    return shown


def page_token(offset: int) -> str:
    """Names the offset below which the next page begins."""
    return base64.urlsafe_b64encode(f"q1:{offset}".encode()).decode().rstrip("=")


def offset_of_token(token: str) -> int | None:
    """The offset in a page token; None for one that is not ours."""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    version, _, offset = text.partition(":")
    return int(offset) if version == "q1" and offset.isdecimal() else None
