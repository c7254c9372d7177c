"""Receipts in REST answers: one shape for the gate and for the edge."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, Field

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment_text(micros: int) -> str:
    """Microseconds since 1970 UTC as RFC 3339 text with six decimals and a Z."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class CoordinateView(BaseModel):
    """Where a record stands in the log."""

    topic: str
    partition: int
    offset: int


class EvidenceRefView(BaseModel):
    """Where the original of a quarantined record is kept: an object by digest and a line in it, from 0."""

    uri: str
    digest_algo: str
    digest_hash: str
    bytes: int
    index: int


class ReceiptView(BaseModel):
    """What the gate decided about one record.

    ``event_bus`` is where the *first* admission of the event stands: for a DUPLICATE it is the place of the
    original; a QUARANTINE has none.
    """

    receipt_id: str
    decision: Literal["ADMIT", "DUPLICATE", "QUARANTINE"]
    reason_codes: list[str] = []
    detail: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    tenant: str
    run_id: str | None = None
    payload_hash: str | None = Field(None, description="sha256 over type, pins, time and payload")
    policy_revision: str
    partition_key: str | None = None
    partition_profile: str | None = None
    principal: str
    origin: Literal["lane", "chained", "released"]
    lane: CoordinateView | None = Field(None, description="where the record stood on its ingress lane")
    event_bus: CoordinateView | None = None
    admitted_at: str = Field(description="time of the decision, RFC 3339 UTC")
    evidence_ref: EvidenceRefView | None = None
    coordinate: CoordinateView | None = Field(None, description="where the receipt itself stands")

    @classmethod
    def of(cls, fields: Mapping[str, Any], coordinate: CoordinateView | None = None) -> Self:
        """From the decoded fields of a ``receipt`` event."""
        payload = fields["payload"]
        lane, bus = payload["lane_topic"], payload["eb_topic"]
        return cls.model_construct(
            receipt_id=payload["receipt_id"],
            decision=payload["decision"],
            reason_codes=payload["reason_codes"],
            detail=payload["detail"],
            event_id=payload["subject_event_id"],
            event_type=payload["subject_event_type"],
            tenant=fields["tenant"],
            run_id=payload["subject_run_id"],
            payload_hash=payload["payload_hash"],
            policy_revision=payload["policy_revision"],
            partition_key=payload["partition_key"],
            partition_profile=payload["partition_profile"],
            principal=payload["principal"],
            origin=payload["origin"],
            lane=None
            if lane is None
            else CoordinateView.model_construct(
                topic=lane, partition=payload["lane_partition"], offset=payload["lane_offset"]
            ),
            event_bus=None
            if bus is None
            else CoordinateView.model_construct(
                topic=bus, partition=payload["eb_partition"], offset=payload["eb_offset"]
            ),
            admitted_at=moment_text(payload["admitted_at"]),
            evidence_ref=None
            if payload["evidence_ref"] is None
            else EvidenceRefView(**payload["evidence_ref"]),
            coordinate=coordinate,
        )


class ReceiptList(BaseModel):
    """Every receipt of an event, in the order in which they were written.

    ``truncated``: there are more than were asked for.
    """

    receipts: list[ReceiptView]
    truncated: bool = False
