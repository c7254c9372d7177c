"""When checkpoint and inputs are both gone: state made anew from the Event Bus."""

import time
from collections.abc import Iterator, Sequence

import structlog
from confluent_kafka import Consumer, TopicPartition

from sluice_kit.stage.chain import positions_after
from sluice_kit.stage.model import BusReading, Record
from sluice_kit.stage.range_reader import METADATA_SECONDS, Positions, read_to_end
from sluice_kit.stage.restore import MemberHistory, RestoreReport, batches_after
from sluice_kit.stage.spec import ChainSpec

log = structlog.get_logger(__name__)


def rebuild_from_bus(
    spec: ChainSpec, head: MemberHistory, consumer: Consumer, partitions: dict[str, int], *, seal_after: int
) -> RestoreReport:
    """Bring the head to the end of its log without stepping: its outputs are committed and stay as they are.

    `consumer` tells partition ends; `seal_after` makes the next batch seal a checkpoint. Raises StageError.
    """
    assert spec.rebuild is not None
    assert head.last is not None
    started = time.monotonic()
    positions: Positions = {}
    batches = events = 0
    for offset, record in batches_after(head.basis.since(0), -1):
        positions = positions_after(positions, record.inputs)
        head.basis_next = offset + 1
        batches, events = batches + 1, events + record.events

    def read(topics: Sequence[str]) -> Iterator[list[Record]]:
        starts = {
            (topic, number): consumer.get_watermark_offsets(
                TopicPartition(topic, number), timeout=METADATA_SECONDS
            )[0]
            for topic in topics
            for number in range(partitions[topic])
        }
        return read_to_end(consumer, starts)

    spec.rebuild(BusReading(read, positions, head.last.now))
    head.batch_no, head.now, head.positions, head.pending = head.last.batch_no, head.last.now, positions, []
    head.events_since_checkpoint = seal_after
    seconds = time.monotonic() - started
    log.warning("state.rebuilt", service=head.stage.name, batches=batches, events=events, seconds=seconds)
    return RestoreReport(0, 0, (), seconds)
