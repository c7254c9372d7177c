"""Reading a snapshot back from its topic: look-ups of what is no longer at hand, after a restart above all.

Snapshots are keyed by event id, so all of one event stand in one partition. It is read as far as the policy
says: from its end backwards in pieces up to that of one run, or all of it, since any run may have one.
"""

import threading
import time
from typing import Final, NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.online_features.views import decoded_snapshot, scope_of
from sluice_features import Scope
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.kafka.partitioner import Partitioner

SNAPSHOTS: Final = "state.online_features.snapshot"
_PIECE: Final = 20_000
_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.2


class LookBackError(Exception):
    """The broker did not give the records in time."""


class LookedBack(NamedTuple):
    """Snapshots of an event, newest first; `older_unread`: its partition has records beyond the reach."""

    snapshots: list[bytes]
    older_unread: bool


class SnapshotLog:
    """One look-up at a time; the others wait their turn. `most` is how many records one may read."""

    def __init__(self, wiring: Wiring, principal: str, *, most: int) -> None:
        self._config = reader_config(wiring, principal, group=f"{principal}-snapshots") | {
            "enable.partition.eof": True,
            "queued.max.messages.kbytes": 16_384,
        }
        self._most = most
        self._partitioner = Partitioner()
        self._turn = threading.Lock()
        self._consumer: Consumer | None = None

    def find(self, event_id: str, scope: Scope | None) -> LookedBack:
        """Snapshots of an event: of a scope the newest at least, else all in reach. Raises LookBackError."""
        if not self._turn.acquire(timeout=_SECONDS):
            raise LookBackError("other look-ups take all the time")
        try:
            return self._find(event_id.encode(), scope)
        except KafkaException as error:
            raise LookBackError(f"snapshots cannot be read back: {error}") from error
        finally:
            self._turn.release()

    def close(self) -> None:
        """Let the broker go."""
        with self._turn:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _find(self, key: bytes, scope: Scope | None) -> LookedBack:
        deadline = time.monotonic() + _SECONDS
        if self._consumer is None:
            self._consumer = Consumer(self._config)
        counted = self._consumer.list_topics(SNAPSHOTS, timeout=_SECONDS).topics[SNAPSHOTS].partitions
        where = TopicPartition(SNAPSHOTS, self._partitioner.partition(key, max(len(counted), 1)))
        low, end = self._consumer.get_watermark_offsets(where, timeout=_SECONDS)
        lowest = max(low, end - self._most)
        piece = self._most if scope is None else _PIECE
        found: list[bytes] = []
        while end > lowest:
            where.offset = max(lowest, end - piece)
            self._consumer.assign([where])
            read = _read_up_to(self._consumer, end, key, deadline)[::-1]
            found += read
            if scope is not None and scope in map(scope_of, map(decoded_snapshot, read)):
                break
            end = where.offset
        return LookedBack(found, lowest > low)


def _read_up_to(consumer: Consumer, end: int, key: bytes, deadline: float) -> list[bytes]:
    """Values of `key` from where the consumer was assigned to offset `end`, excluded."""
    found: list[bytes] = []
    at = -1
    while at < end:
        if time.monotonic() > deadline:
            raise LookBackError("the broker does not give the snapshots in time")
        for message in cast("list[KafkaMessage]", consumer.consume(1_000, _POLL_SECONDS)):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    raise KafkaException(error)
                at = end  # commit markers may stand before the end
                continue
            at = message.offset() + 1
            if at <= end and message.key() == key:
                found.append(message.value() or b"")
    consumer.unassign()
    return found
