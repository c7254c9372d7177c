"""What the log says on its lane: sealed segments, signed heads, signs of life. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from services.decision_log.settings import LANE, LOG, PRINCIPAL, SERVICE
from sluice_audit import SegmentRef, SignedHead
from sluice_contracts import NO_PINS, STANDING, derived_id, encode
from sluice_kit.workflow import OutboxEvent

_KEY: Final = STANDING.encode()


def segment_event(segment: SegmentRef, *, incomplete: int, corrections: int, now: int) -> OutboxEvent:
    """A segment was sealed at `now` (microseconds since 1970 UTC)."""
    digest = segment.locator.digest
    payload = {
        "log": LOG,
        "segment": {
            "uri": segment.locator.uri,
            "digest": {"algo": digest.algo, "hash": digest.hash},
            "bytes": segment.locator.bytes,
            "schema_version": segment.locator.schema_version,
        },
        "first_leaf": segment.first_leaf,
        "records": segment.rows,
        "incomplete": incomplete,
        "corrections": corrections,
    }
    event_id = derived_id("sluice.decision_segment.v1", LOG, segment.first_leaf, digest.hash)
    return _event("decision_segment", event_id, payload, now)


def checkpoint_event(signed: SignedHead) -> OutboxEvent:
    """A head was signed."""
    head = signed.head
    payload = {
        "origin": head.origin,
        "tree_size": head.size,
        "root": head.root.hex(),
        "signed_at": head.ts_utc,
        "key_id": signed.key_id,
        "signature": b64encode(signed.signature).decode(),
    }
    event_id = derived_id("sluice.audit_checkpoint.v1", head.origin, head.size, head.root.hex(), head.ts_utc)
    return _event("audit_checkpoint", event_id, payload, head.ts_utc)


def signal_event(values: Mapping[str, int], *, degraded: bool, start: int, now: int) -> OutboxEvent:
    """A sign of life about the time from `start` to `now`."""
    payload = {
        "service": SERVICE,
        "shard": 0,
        "status": "degraded" if degraded else "ok",
        "values": dict(values),
        "window_start": start,
        "window_end": now,
    }
    event_id = derived_id("sluice.service_signal.v1", SERVICE, 0, now)
    return _event("service_signal", event_id, payload, now)


def _event(event_type: str, event_id: str, payload: Mapping[str, Any], now: int) -> OutboxEvent:
    fields = {
        "event_id": event_id,
        "event_type": event_type,
        "ts_utc": now,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": STANDING,
        "seed": None,
        "emitted_at_utc": now,
        "producer": PRINCIPAL,
        "parent_event_id": None,
        "traceparent": None,
        "payload": payload,
    }
    return OutboxEvent(LANE, _KEY, encode(event_type, 1, fields), event_id)
