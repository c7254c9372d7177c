"""What the gate knows and decides: runs, known keys, candidates and the three outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from sluice_contracts import Contract
from sluice_kit.stage import Coordinate, Record

RunKey = tuple[str, str]
"""(tenant, run_id): the first part of every key, so that two worlds never share anything."""


TRAFFIC = "traffic"
"""Class of the topics whose events belong to a run."""

CONTROL_RUN_NO = 0xFFFF_FFFF
"""Run number of control and audit events in the dedupe index: they never expire."""


class RunStatus(StrEnum):
    """A run never goes back: OPEN, then CLOSED."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Run:
    """A run whose READY was admitted, or a tenant's standing run (no pins, never READY, never closed)."""

    tenant: str
    run_id: str
    run_no: int
    status: RunStatus
    standing: bool = False
    manifest_fingerprint: str = ""
    parameter_hash: str = ""
    scenario_id: str = ""
    seed: int | None = None
    delivery_mode: str = ""
    ready_event_id: str = ""

    def closed(self) -> "Run":
        """The same run, closed."""
        return replace(self, status=RunStatus.CLOSED)


@dataclass(frozen=True, slots=True)
class HeldReady:
    """A READY that waits for the gate's own evidence. `since` is the basis `now` of its arrival."""

    record: Record
    event_id: str
    since: int
    origin: str = "lane"


class Known(NamedTuple):
    """A key that was admitted before: payload hash (32 bytes), where the first admission stands, its time."""

    payload_hash: bytes
    coordinate: Coordinate
    ts_utc: int


class KnownKeys(Protocol):
    """The committed dedupe index."""

    def lookup(self, keys: Sequence[bytes]) -> list[Known | None]:
        """For each 16-byte key what is known of it."""
        ...


class Admission(NamedTuple):
    """A key admitted in this batch: which fact it is, and what the index keeps of it."""

    fact: int
    payload_hash: bytes
    ts_utc: int
    run_no: int


@dataclass(frozen=True, slots=True)
class Expired:
    """Which admitted keys may go, by run number and, for standing runs, by `ts_utc` (microseconds)."""

    closed_runs: tuple[int, ...]
    standing_runs: tuple[int, ...]
    oldest_ts_utc: int


@dataclass(slots=True)
class Candidate:
    """A record that decoded and passed its contract: only the run and the dedupe can refuse it now."""

    record: Record
    contract: Contract
    fields: dict[str, Any]
    key: bytes
    payload_hash: bytes
    principal: str
    origin: str


@dataclass(slots=True)
class Refusal:
    """A record that is refused before or after it became a candidate."""

    record: Record
    principal: str
    origin: str
    reason: str
    detail: str
    fields: Mapping[str, Any] | None = None


class Origin(StrEnum):
    """How a record reached the gate's step."""

    LANE = "lane"
    CHAINED = "chained"
    RELEASED = "released"
