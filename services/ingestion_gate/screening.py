"""The first half of admission, record by record: bytes, contract, lane, rights. It needs no run state."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.ingestion_gate.model import Candidate, Origin, Refusal
from services.ingestion_gate.policy import GatePolicy
from services.ingestion_gate.reasons import Reason
from sluice_contracts import LANES, Contract, Decoded, DecodeFailure, Topic, Violation, decode, payload_hash
from sluice_kit.stage import Record

EDGE_LANE = "ingress.edge"
PRINCIPAL_HEADER = "sluice-principal"
OPERATOR = "operator"
"""Who answers for a released record: its publisher was refused, the operator let it in."""
DETAIL_LIMIT = 500
KEY_BYTES = 16


def dedupe_prefix(tenant: str, run_id: str, event_class: str) -> bytes:
    """What the keys of a run's events of one class begin with."""
    return f"{tenant}\0{run_id}\0{event_class}\0".encode()


def dedupe_key(tenant: str, run_id: str, event_class: str, event_id: str) -> bytes:
    """The 16-byte key under which an admission is known: (tenant, run, event class, event id)."""
    text = dedupe_prefix(tenant, run_id, event_class) + event_id.encode()
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


class Prepared(NamedTuple):
    """What follows from a record's bytes alone: its event, what is wrong with it, its key and hash."""

    decoded: Decoded
    violations: Sequence[Violation]
    key: bytes
    payload_hash: bytes


def prepare(record: Record) -> Prepared | DecodeFailure:
    """Decode, check and hash one record: pure, and so done ahead of the step."""
    decoded = decode(record.value)
    if isinstance(decoded, DecodeFailure):
        return decoded
    if not decoded.contract.enveloped:
        return Prepared(decoded, (), b"", b"")
    fields = decoded.fields
    violations = decoded.contract.check(fields)
    if violations:
        return Prepared(decoded, violations, b"", b"")
    key = dedupe_key(fields["tenant"], fields["run_id"], decoded.contract.event_type, fields["event_id"])
    return Prepared(decoded, (), key, payload_hash(fields))


class Screen:
    """Checks and authorises under one policy."""

    def __init__(self, policy: GatePolicy, lanes: Mapping[str, Topic] = LANES) -> None:
        self._policy = policy
        self._lanes = lanes
        self.limit = policy.limits.max_event_bytes
        self._allowed: dict[tuple[str, str, str, str], str | None] = {}

    def examine(self, record: Record, origin: str) -> Candidate | Refusal:
        """A candidate for admission, or the reason why it is none."""
        lane = self._lanes[record.topic]
        principal = lane.lane_principal or lane.owner
        if origin == Origin.RELEASED:
            principal = OPERATOR
        elif record.topic == EDGE_LANE and origin == Origin.LANE:
            principal = edge_principal(record) or principal
        value = record.value
        if value is not None and len(value) > self.limit:
            detail = f"{len(value)} bytes; this policy allows {self.limit}"
            return Refusal(record, principal, origin, Reason.OVERSIZE, detail)
        found = record.prepared
        if not isinstance(found, Prepared | DecodeFailure):
            found = prepare(record)
        if isinstance(found, DecodeFailure):
            return Refusal(record, principal, origin, found.code, found.detail[:DETAIL_LIMIT])
        fields, contract = found.decoded.fields, found.decoded.contract
        if not carries(lane, contract):
            detail = f"{contract.event_type} may not come through {record.topic}"
            return Refusal(record, principal, origin, Reason.NOT_AUTHORISED, detail)
        if found.violations:
            detail = "; ".join(f"{item.path}: {item.message}" for item in found.violations[:3])
            sound = all(item.path.startswith("payload") for item in found.violations)
            return Refusal(
                record,
                principal,
                origin,
                Reason.INVALID_FIELD,
                detail[:DETAIL_LIMIT],
                fields if sound else None,
            )
        problem = self.rights_problem(lane, principal, contract.event_type, fields["tenant"])
        if problem is not None:
            return Refusal(record, principal, origin, Reason.NOT_AUTHORISED, problem, fields)
        return Candidate(record, contract, fields, found.key, found.payload_hash, principal, origin)

    def rights_problem(self, lane: Topic, principal: str, event_type: str, tenant: str) -> str | None:
        """What forbids this principal to publish, None when nothing does."""
        asked = (lane.name, principal, event_type, tenant)
        if asked not in self._allowed:
            self._allowed[asked] = self._rights(lane, principal, event_type, tenant)
        return self._allowed[asked]

    def _rights(self, lane: Topic, principal: str, event_type: str, tenant: str) -> str | None:
        if tenant not in self._policy.tenants:
            return f"tenant {tenant} is not known to this policy"
        publisher = self._policy.publishers.get(principal)
        if publisher is None:
            if lane.name == EDGE_LANE and principal != OPERATOR:
                return f"principal {principal} has no entry under publishers in this policy"
            return None
        if tenant not in publisher.tenants:
            return f"principal {principal} may not publish for tenant {tenant}"
        if event_type not in publisher.event_types:
            return f"principal {principal} may not publish {event_type}"
        return None


def carries(lane: Topic, contract: Contract) -> bool:
    """Whether events of this contract may come through this lane."""
    return contract.enveloped and contract.event_type in lane.event_types


def edge_principal(record: Record) -> str | None:
    """Who the HTTP edge says has sent this; trusted on the edge's lane only."""
    for name, value in record.headers:
        if name == PRINCIPAL_HEADER and value is not None:
            return value.decode(errors="replace")
    return None
