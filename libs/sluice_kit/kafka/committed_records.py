"""From the bytes of a fetched partition to its committed records."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords


class BrokenBatch(Exception):
    """What a broker sent is not what was written."""


class Committed(NamedTuple):
    """Committed records of one partition, and the offset from which to read on."""

    records: list[DefaultRecord]
    following: int


def committed_records(octets: bytes, aborted: Iterable[tuple[int, int]], start: int) -> Committed:
    """The committed records from offset `start` on.

    `aborted` are producers and the first offsets of their transactions, as far as these were aborted: what
    such a producer wrote from there to its marker does not count. Raises BrokenBatch.
    """
    begun = deque(sorted(aborted, key=lambda one: one[1]))
    aborting: set[int] = set()
    records: list[DefaultRecord] = []
    following = start
    batches = MemoryRecords(octets)
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise BrokenBatch(f"the checksum of the batch at offset {batch.base_offset} is wrong")
        following = batch.next_offset
        while begun and begun[0][1] < following:
            aborting.add(begun.popleft()[0])
        if batch.is_control_batch:
            if _aborts(batch):
                aborting.discard(batch.producer_id)
        elif not (batch.is_transactional and batch.producer_id in aborting):
            records += batch if batch.base_offset >= start else [one for one in batch if one.offset >= start]
    return Committed(records, max(start, following))


def _aborts(batch: DefaultRecordBatch) -> bool:
    """Whether a control batch is the marker of an aborted transaction."""
    marker = next(iter(batch), None)
    return marker is not None and ControlRecord.parse(marker.key) == ABORT_MARKER
