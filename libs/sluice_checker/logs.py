"""What was sent and what stands on the bus as the checker sees it, each record reduced to columns."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sluice_checker.columns import NO_DIGEST, base, digest, identity, number_column
from sluice_checker.loop_log import LoopLog
from sluice_contracts import Decoded, DecodeFailure, decode, payload_hash


class Recorded(NamedTuple):
    """One committed record as it stands on a topic; `timestamp_ms` is the broker's record timestamp."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0


READY = "run_ready"
HEARTBEAT = "service_signal"
"""Events that never stop while services run."""


def placed(records: Iterable[Recorded]) -> Iterator[tuple[int, Recorded, Decoded | DecodeFailure]]:
    """Each record with its place and what it decodes to."""
    for record in records:
        yield base(record.topic, record.partition) + record.offset, record, decode(record.value)


class RecordLog(ABC):
    """Records of some topics as columns: a row for each that was taken in, `at` its place."""

    def __init__(self) -> None:
        self.at = number_column()

    @abstractmethod
    def add(self, records: Iterable[Recorded]) -> None:
        """Take records in, in offset order per partition."""

    def __len__(self) -> int:
        return len(self.at)


class EventLog(RecordLog):
    """Events in the envelope: who each is and what it says; no identity where a record is none."""

    def __init__(self) -> None:
        super().__init__()
        self.value = bytearray()
        self.identity = bytearray()
        self.payload = bytearray()

    def _take(self, at: int, record: Recorded, found: Decoded | DecodeFailure) -> Decoded | None:
        """Add the row; the event, None where the record is none."""
        self.at.append(at)
        self.value += digest(record.value)
        if isinstance(found, DecodeFailure) or not found.contract.enveloped:
            self.identity += NO_DIGEST
            self.payload += NO_DIGEST
            return None
        fields = found.fields
        self.identity += identity(
            fields["tenant"], fields["run_id"], fields["event_type"], fields["event_id"]
        )
        self.payload += payload_hash(fields)[:16]
        return found


class LaneLog(EventLog):
    """What producers sent; `timed`: when, too (8 bytes a record more)."""

    def __init__(self, *, timed: bool = False) -> None:
        super().__init__()
        self.timed = timed
        self.sent_ms = number_column()
        """The broker's timestamp of each row, where `timed`."""
        self.moments: dict[int, int] = {}
        """Place of a READY to its timestamp in ms: the only records that may wait for their receipt."""
        self.heartbeats = 0

    def add(self, records: Iterable[Recorded]) -> None:
        """Take records in, in offset order per partition."""
        for at, record, found in placed(records):
            event = self._take(at, record, found)
            if self.timed:
                self.sent_ms.append(max(0, record.timestamp_ms))
            if event is None:
                continue
            if event.contract.event_type == READY:
                self.moments[at] = record.timestamp_ms
            elif event.contract.event_type == HEARTBEAT:
                self.heartbeats += 1


class FactLog(EventLog):
    """What stands on the event bus as an admitted fact; `loop` takes in what belongs to the decision loop."""

    def __init__(self, loop: LoopLog | None = None) -> None:
        super().__init__()
        self.loop = loop
        self.heartbeats = 0
        self.key = bytearray()
        self.unreadable: list[tuple[int, str]] = []
        self.misrouted: list[tuple[int, str]] = []

    def add(self, records: Iterable[Recorded]) -> None:
        """Take records in, in offset order per partition."""
        for at, record, found in placed(records):
            self.key += digest(record.key)
            event = self._take(at, record, found)
            if event is None:
                why = found.detail if isinstance(found, DecodeFailure) else "it has no envelope"
                self.unreadable.append((at, why))
                continue
            contract = event.contract
            if contract.topic != record.topic or event.fields["event_type"] != contract.event_type:
                self.misrouted.append((at, f"{contract.event_type} belongs on {contract.topic}"))
                continue
            if contract.event_type == HEARTBEAT:
                self.heartbeats += 1
            if self.loop is not None:
                self.loop.take(at, contract.event_type, event.fields, record.timestamp_ms)
