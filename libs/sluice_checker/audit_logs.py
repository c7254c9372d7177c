"""What the gate says that it did, and what it refused, each record reduced to columns."""

from abc import abstractmethod
from array import array
from collections.abc import Iterable
from typing import Any, ClassVar

from sluice_checker.columns import NO_DIGEST, NO_PLACE, digest, identity, number_column, place
from sluice_checker.logs import Recorded, RecordLog, placed
from sluice_contracts import DecodeFailure

ADMIT, DUPLICATE, QUARANTINE = 0, 1, 2
DECISIONS = {"ADMIT": ADMIT, "DUPLICATE": DUPLICATE, "QUARANTINE": QUARANTINE}
LANE, CHAINED, RELEASED = 0, 1, 2
ORIGINS = {"lane": LANE, "chained": CHAINED, "released": RELEASED}


class AuditLog(RecordLog):
    """Records of one event type; anything else on its topic is noted as unreadable."""

    event_type: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: list[tuple[int, str]] = []

    def add(self, records: Iterable[Recorded]) -> None:
        """Take records in, in offset order per partition."""
        for at, _, found in placed(records):
            if isinstance(found, DecodeFailure):
                self.unreadable.append((at, found.detail))
            elif found.contract.event_type != self.event_type:
                self.unreadable.append((at, repr(found.contract)))
            else:
                self._take(at, found.fields)

    @abstractmethod
    def _take(self, at: int, fields: dict[str, Any]) -> None:
        """Add a row, or note why there is none."""


class ReceiptLog(AuditLog):
    """What the gate says that it did."""

    event_type = "receipt"

    def __init__(self) -> None:
        super().__init__()
        self.lane_at = number_column()
        self.fact_at = number_column()
        self.decision = array("B")
        self.origin = array("B")
        self.identity = bytearray()
        self.payload = bytearray()
        self.key = bytearray()
        self.quarantined = bytearray()
        """Digest of the receipt id, of QUARANTINE receipts only, in their order."""
        self.from_lanes = 0

    def _take(self, at: int, fields: dict[str, Any]) -> None:
        body = fields["payload"]
        decision = DECISIONS.get(body["decision"])
        origin = ORIGINS.get(body["origin"])
        if decision is None or origin is None:
            self.unreadable.append((at, f"decision {body['decision']!r}, origin {body['origin']!r}"))
            return
        if origin == LANE and (body["lane_topic"] is None or min(_lane(body)) < 0):
            self.unreadable.append((at, f"origin lane at {body['lane_topic']}{list(_lane(body))}"))
            return
        self.at.append(at)
        self.decision.append(decision)
        self.origin.append(origin)
        if origin == LANE:
            self.from_lanes += 1
            self.lane_at.append(place(body["lane_topic"], body["lane_partition"], body["lane_offset"]))
        else:
            self.lane_at.append(NO_PLACE)
        if body["eb_topic"] is None or body["eb_partition"] < 0 or body["eb_offset"] < 0:
            self.fact_at.append(NO_PLACE)
        else:
            self.fact_at.append(place(body["eb_topic"], body["eb_partition"], body["eb_offset"]))
        run_id, event_type, event_id = (
            body["subject_run_id"],
            body["subject_event_type"],
            body["subject_event_id"],
        )
        self.identity += (
            NO_DIGEST
            if run_id is None or event_type is None or event_id is None
            else identity(fields["tenant"], run_id, event_type, event_id)
        )
        self.payload += _hash_bytes(body["payload_hash"])
        partition_key = body["partition_key"]
        self.key += digest(None if partition_key is None else partition_key.encode())
        if decision == QUARANTINE:
            self.quarantined += digest(body["receipt_id"].encode())


class EvidenceNames:
    """Evidence objects by number: an object holds many originals, so its name is kept once."""

    def __init__(self) -> None:
        self.objects: list[tuple[str, str, int]] = []
        """(uri, sha256 hex, size in bytes)."""
        self._known: dict[tuple[str, str, int], int] = {}

    def number(self, uri: str, sha256: str, size: int) -> int:
        """The number of an object."""
        name = (uri, sha256, size)
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = len(self.objects)
            self.objects.append(name)
        return found


class QuarantineLog(AuditLog):
    """What was refused, and where the originals are."""

    event_type = "quarantine_record"

    def __init__(self) -> None:
        super().__init__()
        self.lane_at = number_column()
        self.receipt = bytearray()
        self.evidence = number_column()
        """Number of the evidence object, NO_PLACE where the original is inline or nowhere."""
        self.line = number_column()
        self.inline: dict[int, bytes | None] = {}
        """Row to the digest of an original that is kept inline (None: there is no original at all)."""
        self.names = EvidenceNames()

    def _take(self, at: int, fields: dict[str, Any]) -> None:
        body = fields["payload"]
        row = len(self.at)
        self.at.append(at)
        self.lane_at.append(
            NO_PLACE if body["lane_topic"] is None else place(body["lane_topic"], *_lane(body))
        )
        self.receipt += digest(body["receipt_id"].encode())
        ref = body["evidence_ref"]
        if ref is None:
            original = body["inline_original"]
            self.inline[row] = None if original is None else digest(original)
            self.evidence.append(NO_PLACE)
            self.line.append(0)
        else:
            self.evidence.append(self.names.number(ref["uri"], ref["digest_hash"], ref["bytes"]))
            self.line.append(ref["index"])


def _lane(body: dict[str, int]) -> tuple[int, int]:
    partition, offset = body["lane_partition"], body["lane_offset"]
    return (-1 if partition is None else partition, -1 if offset is None else offset)


def _hash_bytes(text: str | None) -> bytes:
    """First half of a payload hash in hex; zeros for none, and for what is no hash."""
    try:
        return NO_DIGEST if text is None else bytes.fromhex(text)[:16].ljust(16, b"\0")
    except ValueError:
        return NO_DIGEST
