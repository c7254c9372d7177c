"""Batches that a start took without comparing their outputs, as audited events on the stage's own lane."""

import getpass
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from sluice_contracts import LANES, NO_PINS, STANDING, derived_id, encode
from sluice_kit.stage.model import Output

log = structlog.get_logger(__name__)

EVENT_TYPE: Final = "uncompared_replay"
KIND: Final = "sluice.uncompared_replay.v1"


@dataclass(frozen=True, slots=True)
class Uncompared:
    """Batches of one member, all made by the same other code, whose outputs differ from the log."""

    service: str
    code_rev: str
    batches: int
    first_batch_no: int
    last_batch_no: int

    def extended(self, batch_no: int) -> "Uncompared":
        """One batch more; batches come in order."""
        return Uncompared(self.service, self.code_rev, self.batches + 1, self.first_batch_no, batch_no)


@dataclass(frozen=True, slots=True)
class Start:
    """Which process took them: `principal` is who it is to the broker, `now` microseconds UTC."""

    principal: str
    shard: int
    instance: str
    code_rev: str
    environment: str
    region: str
    now: int


def audit_events(taken: Sequence[Uncompared], start: Start) -> list[Output]:
    """One event a member and revision, for the lane of the process; the gate brings them to the audit log.

    Each start is an act of its own, so its events never repeat those of an earlier one.
    """
    name = f"ingress.{start.principal}"
    if taken and (name not in LANES or EVENT_TYPE not in LANES[name].event_types):
        log.warning("replay.not_audited", reason=f"no lane {name} that carries {EVENT_TYPE}")
        return []
    return [
        Output(name, STANDING.encode(), encode(EVENT_TYPE, 1, _fields(item, start, started_by())))
        for item in taken
    ]


def started_by() -> str:
    """Account and host of this process: as near to the person as a process can tell."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        account = f"uid-{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9_.:-]", "-", f"{account}:{socket.gethostname()}").lstrip("_.:-")[:128]


def _fields(item: Uncompared, start: Start, account: str) -> dict[str, Any]:
    action_id = derived_id(KIND, start.instance, item.service, start.shard, item.code_rev)
    return {
        "event_id": action_id,
        "event_type": EVENT_TYPE,
        "ts_utc": start.now,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": STANDING,
        "run_id": STANDING,
        "emitted_at_utc": start.now,
        "producer": start.principal,
        "payload": {
            "action_id": action_id,
            "subject": f"replay:{item.service}/{start.shard}",
            "actor": {"type": "service", "id": start.principal, "roles": [], "on_behalf_of": account},
            "scope": {"tenant": "default", "environment": start.environment, "region": start.region},
            "outcome": "allowed",
            "reason": f"--accept-code-change: of batches {item.first_batch_no} to {item.last_batch_no}, made "
            f"by code {item.code_rev}, {item.batches} came out otherwise",
            "latency_ms": None,
            "inputs_digest": None,
            "policy_decisions": [],
            "evidence_refs": [],
            "service": item.service,
            "shard": start.shard,
            "from_code_rev": item.code_rev,
            "to_code_rev": start.code_rev,
            "batches": item.batches,
            "first_batch_no": item.first_batch_no,
            "last_batch_no": item.last_batch_no,
        },
    }
