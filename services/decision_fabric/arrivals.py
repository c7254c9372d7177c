"""Payments and snapshots as decisions need them, whatever they were read from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from services.decision_fabric.model import EarlySnapshot, Fields, Payment, event_key
from sluice_contracts import Decoded
from sluice_decisions import SnapshotView

Told = Mapping[str, Any]
"""Values of a payment by the names of its payload's fields."""


class Pins(NamedTuple):
    """What ties an event to its run."""

    manifest_fingerprint: str
    tenant: str
    parameter_hash: str
    scenario_id: str
    run_id: str
    seed: int | None


class PaymentSource(Protocol):
    """Payments of which not everything was read."""

    def told(self, names: tuple[str, ...]) -> Sequence[Told]:
        """Of each payment the values of some of its payload's fields, without those that are null."""


class Paid(NamedTuple):
    """A payment as decisions need it. The first four say in which order payments of a batch are decided."""

    tenant: str
    run_id: str
    ts_utc: int
    event_id: str
    key: str
    pins: Pins
    traceparent: str | None
    payment_id: str
    customer_id: str
    amount_minor: int
    currency: str
    topic: str
    partition: int
    offset: int
    source: PaymentSource
    place: int
    """Which of the source's payments it is."""

    def told(self, names: tuple[str, ...]) -> Told:
        """The values of some of its payload's fields, without those that are null."""
        return self.source.told(names)[self.place]

    @classmethod
    def of(cls, fields: Fields, topic: str, partition: int, offset: int) -> Paid:
        """From the event's fields, and where it stands."""
        tenant, run_id, event_id = fields["tenant"], fields["run_id"], fields["event_id"]
        payload = fields["payload"]
        return cls(
            tenant,
            run_id,
            fields["ts_utc"],
            event_id,
            event_key(tenant, run_id, event_id),
            Pins(*(fields[name] for name in Pins._fields)),
            fields["traceparent"],
            payload["payment_id"],
            payload["customer_id"],
            payload["amount_minor"],
            payload["currency"],
            topic,
            partition,
            offset,
            _Decoded(payload),
            0,
        )

    @classmethod
    def waited(cls, payment: Payment) -> Paid:
        """One that waits no more."""
        return cls.of(payment.fields, payment.topic, payment.partition, payment.offset)


class Snapshot(NamedTuple):
    """A snapshot as decisions need it."""

    key: str
    view: SnapshotView
    graph_basis: str | None

    @classmethod
    def of(cls, fields: Fields) -> Snapshot:
        """From the event's fields."""
        view = SnapshotView(
            fields["values"],
            fields["missing"],
            fields["feature_set"]["hash"],
            fields["snapshot_hash"],
            fields["graph_version"],
            bool(fields["degraded"]),
        )
        key = event_key(fields["tenant"], fields["run_id"], fields["event_id"])
        return cls(key, view, fields["graph_basis"])

    @classmethod
    def waited(cls, early: EarlySnapshot) -> Snapshot:
        """One that waits no more."""
        return cls.of(early.fields)


Arrived = Paid | Snapshot | Decoded | None
"""What a record says: a payment, a snapshot, or what steers; None for what is no event of ours."""


class _Decoded:
    """One payment that was decoded."""

    def __init__(self, payload: Told) -> None:
        self._payload = payload

    def told(self, names: tuple[str, ...]) -> Sequence[Told]:
        """See PaymentSource."""
        payload = self._payload
        return [{name: value for name in names if (value := payload.get(name)) is not None}]
