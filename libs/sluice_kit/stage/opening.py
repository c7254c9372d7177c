"""The start of a shard: fence what came before, load, replay, and only then read on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from confluent_kafka import Consumer, KafkaException

from sluice_kit.artifacts import ArtifactStore
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, reader_config, transactional_producer_config
from sluice_kit.kafka.fetch_client import FetchClient
from sluice_kit.stage.announcing import DRAINED, announcement
from sluice_kit.stage.basis import BasisLog
from sluice_kit.stage.checkpoint import Checkpointer
from sluice_kit.stage.errors import ChainNotDrainedError, ReplayInputGoneError, StageError
from sluice_kit.stage.model import Output
from sluice_kit.stage.poison import describe
from sluice_kit.stage.range_reader import Positions, RangeReader, ends_of, partition_counts, read_to_end
from sluice_kit.stage.rebuilding import rebuild_from_bus
from sluice_kit.stage.restore import (
    LoggedPlaces,
    MemberHistory,
    RestoreReport,
    load_history,
    replay_pending,
    starts_of,
)
from sluice_kit.stage.source import InputReader
from sluice_kit.stage.spec import ChainSpec, StageSettings
from sluice_kit.stage.transaction import TransactionalWriter
from sluice_kit.stage.uncompared import Start, audit_events

METADATA_SECONDS = 30.0
FIRST_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ShardPlace:
    """Which shard of which chain a process runs, and against what."""

    spec: ChainSpec
    wiring: Wiring
    store: ArtifactStore
    settings: StageSettings
    shard: int
    instance: str

    @property
    def principal(self) -> str:
        """Who the process is to the broker: the head's service."""
        return self.spec.head.name

    @property
    def transactional_id(self) -> str:
        """One a shard: its newest owner fences the others."""
        return f"{self.spec.head.name}-{self.shard}"

    def consumer(self, purpose: str, *, tells_ends: bool = False) -> Consumer:
        """A consumer that assigns explicit offsets; `tells_ends` as `read_to_end` needs it."""
        group = f"{self.principal}-{purpose}-{self.shard}"
        config = reader_config(self.wiring, self.principal, group=group)
        return Consumer(config | {"enable.partition.eof": tells_ends})

    def audit(self, report: RestoreReport, now: int) -> list[Output]:
        """What the audit log has to know of this start, for the transaction that announces it."""
        start = Start(
            self.principal,
            self.shard,
            self.instance,
            self.spec.code_rev,
            self.wiring.environment,
            self.wiring.region,
            now,
        )
        return audit_events(report.taken, start)


@dataclass(slots=True)
class OpenShard:
    """A shard that is up to the end of its log."""

    members: list[MemberHistory]
    reader: InputReader
    partitions: dict[str, int]
    writer: TransactionalWriter
    restored: RestoreReport


def open_writer(
    place: ShardPlace, transactional_id: str, partitions: dict[str, int], waiting: Callable[[str], None]
) -> TransactionalWriter:
    """A writer whose older instances are fenced; waits for the broker. Raises StageError."""
    config = transactional_producer_config(
        place.wiring,
        place.principal,
        transactional_id=transactional_id,
        timeout_ms=round(place.settings.transaction_timeout_seconds * 1_000),
    )
    writer = TransactionalWriter(config, partitions)
    writer.open(deadline_seconds=place.settings.start_deadline_seconds, waiting=waiting)
    return writer


def open_shard(place: ShardPlace, waiting: Callable[[str], None]) -> OpenShard:
    """Fence, read the basis logs, load checkpoints, replay what follows. Raises StageError."""
    partitions = _partitions(place, waiting)
    writer = open_writer(place, place.transactional_id, partitions, waiting)
    try:
        return _brought_up(place, partitions, writer)
    except BaseException:
        writer.close()
        raise


def _brought_up(place: ShardPlace, partitions: dict[str, int], writer: TransactionalWriter) -> OpenShard:
    members = [_member(place, index) for index in range(len(place.spec.members))]
    for member in members:
        _check_drained(place, member)
    _take_over(place, members[0], writer)
    for member in members:
        load_history(member)
    restored = _replay(place, members, partitions)
    for member in members:
        _check_complete(member)
    for member in members[1:]:
        _check_caught_up(place, member, partitions)
    head = members[0]
    positions = {
        (topic, partition): head.positions.get((topic, partition), 0)
        for topic in place.spec.head.inputs
        for partition in range(partitions[topic])
    }
    reader = _reader(place, positions)
    head.positions = reader.positions
    return OpenShard(members, reader, partitions, writer, restored)


def _reader(place: ShardPlace, positions: Positions) -> InputReader:
    consumer = place.consumer("ends")
    try:
        ends = ends_of(consumer, positions)
    finally:
        consumer.close()
    fetching = FetchClient(client_config(place.wiring, place.principal), positions)
    return InputReader(fetching, positions, ends, with_headers=place.spec.with_headers)


def _check_complete(member: MemberHistory) -> None:
    """Whatever went wrong on the way: a start never goes on from elsewhere than the end of its log."""
    if member.last is not None and member.batch_no != member.last.batch_no:
        raise StageError(
            f"{member.stage.name}: the replay ended at batch {member.batch_no}, the basis log ends at "
            f"{member.last.batch_no}; it would step batches a second time"
        )


def _check_drained(place: ShardPlace, member: MemberHistory) -> None:
    """What wrote last under another transactional id (another topology) cannot be fenced from here."""
    found = member.basis.last()
    if found is None or found[1].transactional_id == place.transactional_id:
        return
    last = found[1]
    if DRAINED not in last.environment:
        raise ChainNotDrainedError(
            f"{member.stage.name} was last run as {last.transactional_id} (code {last.code_rev}) and was not "
            "drained: start that topology again and drain it (SIGTERM, exit code 0), then start this one: "
            "see docs/runbooks/chain-not-drained.md"
        )


def _take_over(place: ShardPlace, head: MemberHistory, writer: TransactionalWriter) -> None:
    """Tell at once, before a replay that may take long, whom a fenced instance has to yield to."""
    found = head.basis.last()
    last = None if found is None else found[1]
    record = announcement(
        service=head.stage.name,
        shard=place.shard,
        instance=place.instance,
        code_rev=place.spec.code_rev,
        transactional_id=place.transactional_id,
        batch_no=head.batch_no if last is None else last.batch_no,
        now=head.now if last is None else last.now,
        checkpoint=None if last is None else last.checkpoint,
        chain=place.spec.name,
    )
    writer.begin()
    # Not `head.wrote`: what stands before this record is still to be replayed.
    writer.write_to(f"basis.{head.stage.name}", place.shard, record.encode(), lambda _offset: None)
    writer.commit()


def _partitions(place: ShardPlace, waiting: Callable[[str], None]) -> dict[str, int]:
    consumer = place.consumer("metadata")
    try:
        _await_broker(place, consumer, waiting)
        partition_counts(consumer, sorted({topic for stage in place.spec.members for topic in stage.inputs}))
        topics = consumer.list_topics(timeout=METADATA_SECONDS).topics
    finally:
        consumer.close()
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.partitions}


def _await_broker(place: ShardPlace, consumer: Consumer, waiting: Callable[[str], None]) -> None:
    """A process that starts before its broker waits for it. Raises StageError naming the broker."""
    deadline = time.monotonic() + place.settings.start_deadline_seconds
    while True:
        try:
            consumer.list_topics(timeout=FIRST_ANSWER_SECONDS)
        except KafkaException as error:
            problem = f"{place.wiring.kafka.bootstrap_servers} does not answer: {error.args[0].str()}"
            if time.monotonic() > deadline:
                raise StageError(f"{place.principal} cannot start: {problem}") from error
            waiting(problem)
        else:
            return


def _member(place: ShardPlace, index: int) -> MemberHistory:
    stage = place.spec.members[index]
    checkpointer = Checkpointer(
        place.store,
        place.wiring.state_dir / stage.name / str(place.shard),
        service=stage.name,
        shard=place.shard,
        code_rev=place.spec.code_rev,
    )
    basis = BasisLog(place.consumer("basis", tells_ends=True), f"basis.{stage.name}", place.shard)
    return MemberHistory(stage, place.shard, basis, checkpointer)


def _replay(place: ShardPlace, members: list[MemberHistory], partitions: dict[str, int]) -> RestoreReport:
    started = time.monotonic()
    starts = starts_of(members[0].pending)
    consumer = place.consumer("replay")
    try:
        ranges = RangeReader(consumer, starts, with_headers=place.spec.with_headers) if starts else None
        report = replay_pending(
            place.spec,
            members,
            lambda record: [] if ranges is None else ranges.read(record.inputs),
            LoggedPlaces(partitions),
            accept_code_change=place.settings.accept_code_change,
        )
    except ReplayInputGoneError:
        if place.spec.rebuild is None:
            raise
        bus = place.consumer("rebuild", tells_ends=True)
        try:
            seal_after = place.settings.checkpoint_events
            return rebuild_from_bus(place.spec, members[0], bus, partitions, seal_after=seal_after)
        finally:
            bus.close()
    finally:
        consumer.close()
    return replace(report, seconds=time.monotonic() - started)


def _check_caught_up(place: ShardPlace, member: MemberHistory, partitions: dict[str, int]) -> None:
    """A chained member is fed in memory, so nothing may wait for it on the bus when the chain starts."""
    positions = {
        (topic, partition): member.positions.get((topic, partition), 0)
        for topic in member.stage.inputs
        for partition in range(partitions[topic])
    }
    consumer = place.consumer(f"check-{member.stage.name}", tells_ends=True)
    try:
        unread = next(read_to_end(consumer, positions), None)
    finally:
        consumer.close()
    if unread is not None:
        raise ChainNotDrainedError(
            f"{member.stage.name} has not read {describe(unread[0])}: let it catch up in the old topology "
            "and drain it (SIGTERM) before the chain starts; see docs/runbooks/chain-not-drained.md"
        )
