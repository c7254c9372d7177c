"""What operators did to quarantined records: small, in memory, read from `audit.governance` at each start."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sluice_contracts import Decoded, decode

RELEASE: Final = "quarantine_release"
DISCARD: Final = "quarantine_discard"


class QuarantineStatus(StrEnum):
    """Where a quarantined record stands."""

    OPEN = "OPEN"
    RELEASED = "RELEASED"
    DISCARDED = "DISCARDED"


_STATUS_OF: Final = {RELEASE: QuarantineStatus.RELEASED, DISCARD: QuarantineStatus.DISCARDED}


@dataclass(frozen=True, slots=True)
class GovernanceEntry:
    """One recorded action. ``at`` is microseconds since 1970 UTC, ``place`` its place on the bus."""

    action_id: str
    kind: str
    target: str
    actor: str
    reason: str
    at: int
    place: int


class GovernanceLedger:
    """One thread writes, any thread reads. Some 400 bytes an action."""

    def __init__(self) -> None:
        self._by_target: dict[str, tuple[GovernanceEntry, ...]] = {}

    def take(self, value: bytes, place: int) -> None:
        """Take a recorded action in; other things are passed over."""
        decoded = decode(value)
        if not isinstance(decoded, Decoded) or decoded.contract.event_type != "governance_action":
            return
        entry = _entry(decoded.fields, place)
        if entry.kind in _STATUS_OF:
            self._by_target[entry.target] = (*self._by_target.get(entry.target, ()), entry)

    def actions_on(self, target: str) -> tuple[GovernanceEntry, ...]:
        """Releases and discards of a quarantined record, oldest first."""
        return self._by_target.get(target, ())

    def status_of(self, target: str) -> QuarantineStatus:
        """The last action decides."""
        actions = self.actions_on(target)
        return _STATUS_OF[actions[-1].kind] if actions else QuarantineStatus.OPEN

    def clear(self) -> None:
        """Forget everything; it is read again."""
        self._by_target = {}


def _entry(fields: Mapping[str, Any], place: int) -> GovernanceEntry:
    payload = fields["payload"]
    return GovernanceEntry(
        action_id=payload["action_id"],
        kind=payload["kind"],
        target=payload["target"],
        actor=payload["actor"]["id"],
        reason=payload["reason"],
        at=fields["ts_utc"],
        place=place,
    )
