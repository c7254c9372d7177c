"""What one transaction writes: record batches for each partition, and where they stand once that is told."""

import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from sluice_kit.places import Place

_GREATEST_BATCH: Final = 1_000_000
"""Bytes; what topics allow is a little more (contracts: max_message_bytes). A larger record goes alone."""
_MAGIC: Final = 2
_NOBODY: Final = -1
_NO_HEADERS: Final[list[tuple[str, bytes | None]]] = []
_INT32: Final = struct.Struct(">i")
_SEQUENCES: Final = 2**31


class RecordBatch:
    """Records of one partition that stand one after another, from `offset` on once the broker has told."""

    __slots__ = ("builder", "count", "offset")

    def __init__(self, *, transactional: bool = True) -> None:
        self.builder: DefaultRecordBatchBuilder | None = DefaultRecordBatchBuilder(
            _MAGIC, DefaultRecordBatch.CODEC_NONE, transactional, _NOBODY, _NOBODY, 0, _GREATEST_BATCH
        )
        self.count = 0
        self.offset: int | None = None


class Written:
    """The record batches of one transaction, in the order in which their records were appended.

    Those of a producer without transactions are made in the same way.
    """

    def __init__(self, *, transactional: bool = True) -> None:
        self._transactional = transactional
        self._growing: dict[Place, RecordBatch] = {}
        self._unsent: dict[Place, list[RecordBatch]] = {}
        self._batches: dict[Place, list[RecordBatch]] = {}

    def append(
        self, places: Iterable[Place], keys: Iterable[bytes | None], values: Iterable[bytes | None]
    ) -> None:
        """Append one record to each place, in order."""
        now = int(time.time() * 1_000)
        growing = self._growing
        for place, key, value in zip(places, keys, values, strict=True):
            batch = growing.get(place) or self._begun(place)
            if batch.builder.append(batch.count, now, key, value, _NO_HEADERS) is None:  # type: ignore[union-attr]
                batch = self._begun(place)
                batch.builder.append(0, now, key, value, _NO_HEADERS)  # type: ignore[union-attr]
            batch.count += 1

    def count(self, place: Place) -> int:
        """How many records were appended to `place`."""
        return sum(batch.count for batch in self._batches.get(place, ()))

    def places(self) -> Iterable[Place]:
        """The partitions of this transaction."""
        return self._batches.keys()

    def unsent_bytes(self) -> int:
        """How much waits to be sent."""
        return sum(
            batch.builder.size() for batches in self._unsent.values() for batch in batches if batch.builder
        )

    def take_unsent(self) -> Mapping[Place, list[RecordBatch]]:
        """What waits to be sent; records that are appended from now on begin new batches."""
        found, self._unsent, self._growing = self._unsent, {}, {}
        return found

    def offsets(self, place: Place) -> Sequence[int] | None:
        """Where each record of `place` stands, in the order of appending; None before all that is told."""
        spans = []
        for batch in self._batches.get(place, ()):
            if batch.offset is None:
                return None
            spans.append(range(batch.offset, batch.offset + batch.count))
        return spans[0] if len(spans) == 1 else list(chain.from_iterable(spans))

    def told(self, place: Place, start: int, count: int) -> Sequence[int]:
        """Where `count` records of `place` stand, from the one with index `start` on, once that is told."""
        offsets = self.offsets(place)
        assert offsets is not None, "asked before the transaction settled"
        return offsets[start : start + count]

    def _begun(self, place: Place) -> RecordBatch:
        batch = self._growing[place] = RecordBatch(transactional=self._transactional)
        self._unsent.setdefault(place, []).append(batch)
        self._batches.setdefault(place, []).append(batch)
        return batch


class Sequences:
    """A producer's identity, and the number of its next record in each partition."""

    def __init__(self, producer_id: int, epoch: int) -> None:
        self.producer_id, self.epoch = producer_id, epoch
        self._next: dict[Place, int] = {}

    def sealed(self, place: Place, batch: RecordBatch) -> bytearray:
        """The bytes of a batch, which follows all that were sealed for its partition before."""
        assert batch.builder is not None, "a batch is sealed once"
        number = self._next.get(place, 0)
        self._next[place] = (number + batch.count) % _SEQUENCES
        batch.builder.set_producer_state(self.producer_id, self.epoch, number)
        octets: bytearray = batch.builder.build()
        batch.builder = None
        return octets


def produce_request(
    transactional_id: str | None, milliseconds: int, batches: Mapping[Place, bytearray]
) -> list[bytes | bytearray]:
    """The body of ProduceRequest 7: one batch for each of many partitions, acknowledged by all replicas."""
    topics: dict[str, list[tuple[int, bytearray]]] = {}
    for (topic, partition), octets in batches.items():
        topics.setdefault(topic, []).append((partition, octets))
    body: list[bytes | bytearray] = [
        _text(transactional_id),
        struct.pack(">hii", -1, milliseconds, len(topics)),
    ]
    for topic, partitions in topics.items():
        body += (_text(topic), _INT32.pack(len(partitions)))
        for partition, octets in partitions:
            body += (struct.pack(">ii", partition, len(octets)), octets)
    return body


def produced(answer: bytes) -> dict[Place, tuple[int, int]]:
    """The error code and the offset of the first record for each partition of ProduceResponse 7."""
    found = {}
    (topics,) = _INT32.unpack_from(answer)
    at = 4
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", answer, at)
        topic = answer[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (partitions,) = _INT32.unpack_from(answer, at)
        at += 4
        for _ in range(partitions):
            partition, code, offset, _, _ = struct.unpack_from(">ihqqq", answer, at)
            found[topic, partition] = (code, offset)
            at += 30
    return found


def _text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">h", -1)
    octets = value.encode()
    return struct.pack(">h", len(octets)) + octets
