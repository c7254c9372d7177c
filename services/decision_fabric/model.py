"""What the fabric keeps: plain values that a checkpoint writes as JSON and reads back equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sluice_decisions import PostureInForce
from sluice_decisions.postures import Posture
from sluice_kit.artifacts import Digest, Locator

SERVICE: Final = "decision_fabric"
BUNDLES: Final = "control.bundle"
POSTURES: Final = "control.posture"
LISTS: Final = "control.list"
PAYMENTS: Final = "traffic.payment"
SNAPSHOTS: Final = "state.online_features.snapshot"
LANE: Final = "ingress.decision_fabric"
INPUTS: Final = (BUNDLES, POSTURES, LISTS, PAYMENTS, SNAPSHOTS)
ALL: Final = "all"
"""The scope of everybody; `tenant:<name>` is narrower and wins."""

Fields = Mapping[str, Any]


def event_key(tenant: str, run_id: str, event_id: str) -> str:
    """A payment of a run: what payments and snapshots are joined by."""
    return f"{tenant}|{run_id}|{event_id}"


class Payment(NamedTuple):
    """A payment that waits: the event's fields, where it stands, since when, until when."""

    fields: Fields
    topic: str
    partition: int
    offset: int
    seen: int
    deadline: int


class EarlySnapshot(NamedTuple):
    """A snapshot that came before its payment, and when."""

    fields: Fields
    seen: int


class Activation(NamedTuple):
    """The bundle that a scope's last `bundle_activated` names."""

    event_id: str
    bundle_id: str
    revision: str
    fingerprint: str
    uri: str
    digest: str
    bytes: int
    schema_version: int

    @classmethod
    def of(cls, fields: Fields) -> Activation:
        """From the event."""
        payload = fields["payload"]
        manifest = payload["manifest"]
        return cls(
            fields["event_id"],
            payload["bundle_id"],
            payload["bundle_revision"],
            payload["fingerprint"]["hash"],
            manifest["uri"],
            manifest["digest"]["hash"],
            manifest["bytes"],
            manifest["schema_version"],
        )

    def locator(self) -> Locator:
        """Where the manifest is and which bytes it has; raises ValueError for a URI that is none."""
        return Locator(
            uri=self.uri,
            digest=Digest(hash=self.digest),
            bytes=self.bytes,
            schema_version=self.schema_version,
        )


class HeldPosture(NamedTuple):
    """A scope's last posture and the event that put it in force."""

    event_id: str
    posture: str
    capabilities: list[str]
    valid_until: int

    @classmethod
    def of(cls, fields: Fields) -> HeldPosture:
        """From the event."""
        payload = fields["payload"]
        return cls(
            fields["event_id"], payload["posture"], sorted(payload["capabilities"]), payload["valid_until"]
        )

    def in_force(self) -> PostureInForce:
        """As decisions read it."""
        return PostureInForce(Posture(self.posture), frozenset(self.capabilities), self.valid_until)
