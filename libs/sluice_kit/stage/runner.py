"""Runs a chain of stages against a broker: one loop, one transaction a batch, restart by replay.

The order of a batch: read, order, step, put artifacts, write facts, learn their coordinates, write what
names them, write each member's basis record, commit, apply the overlays. A failure before the commit
leaves nothing; a failure during it is settled by reading the basis log.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer

from sluice_kit.artifacts import ArtifactStore, StoreUnavailable
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config, transactional_producer_config
from sluice_kit.stage.basis import BasisLog, BasisRecord, coordinate_runs
from sluice_kit.stage.chain import MemberRun, positions_after, run_chain
from sluice_kit.stage.checkpoint import Checkpointer, CheckpointPoint
from sluice_kit.stage.collector import quiet_collector
from sluice_kit.stage.errors import (
    ChainNotDrainedError,
    FencedError,
    StageError,
    TransactionAbortedError,
    TransactionUnknownError,
)
from sluice_kit.stage.model import Batch, InputRange, Output, Record
from sluice_kit.stage.observer import BatchTimes, StageObserver
from sluice_kit.stage.poison import PoisonWatch, describe
from sluice_kit.stage.restore import (
    LoggedPlaces,
    MemberHistory,
    RestoreReport,
    load_history,
    replay_pending,
    starts_of,
)
from sluice_kit.stage.source import InputReader, Positions, RangeReader, ReadAhead, partition_counts
from sluice_kit.stage.spec import ChainSpec, StageSettings
from sluice_kit.stage.transaction import TransactionalWriter

log = structlog.get_logger(__name__)

EVIDENCE = "evidence"
INSTANCE = "instance"


def wall_clock() -> int:
    """Microseconds since the epoch; only the runner looks, and what it saw is logged in the basis."""
    return time.time_ns() // 1_000


class StageRunner:
    """One shard of a chain. `run` returns after `stop`, or raises a StageError that names its exit code."""

    def __init__(
        self,
        spec: ChainSpec,
        wiring: Wiring,
        store: ArtifactStore,
        observer: StageObserver,
        *,
        shard: int = 0,
        settings: StageSettings | None = None,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        self.spec = spec
        self.settings = settings or StageSettings()
        self._wiring = wiring
        self._store = store
        self._observer = observer
        self._shard = shard
        self._clock = clock
        self._principal = spec.head.name
        self._transactional_id = f"{spec.head.name}-{shard}"
        self._instance = uuid.uuid4().hex
        self._stop = threading.Event()
        self._poison = PoisonWatch(self.settings.poison)
        self._partitions: dict[str, int] = {}
        self._members: list[MemberHistory] = []
        self._writer: TransactionalWriter | None = None
        self._events_since_checkpoint = 0
        self._checkpoint_due = 0.0
        self.restored: RestoreReport | None = None

    def stop(self) -> None:
        """Ask for a drain; safe from any thread and from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Start, step until stopped, drain. Raises StageError."""
        reader = self._start()
        most = self.settings.max_batch_records
        ahead = ReadAhead(reader, self.spec.prepare, 2 * most)
        tick_at = time.monotonic()
        try:
            with quiet_collector() as tidy:
                while not self._stop.is_set():
                    wait = min(0.1, max(0.0, tick_at - time.monotonic()))
                    records = ahead.take(most, wait)
                    if records or time.monotonic() >= tick_at:
                        self._batch(reader, records)
                        tick_at = time.monotonic() + self.settings.idle_tick_seconds
                        self._checkpoint_if_due()
                        tidy(len(records))
        finally:
            ahead.stop()
        self._drain()

    # -- start ---------------------------------------------------------------------------------------

    def _start(self) -> InputReader:
        spec = self.spec
        metadata = self._consumer("metadata")
        topics = sorted({topic for stage in spec.members for topic in stage.inputs})
        self._partitions = partition_counts(metadata, topics)
        self._partitions |= {
            name: len(topic.partitions)
            for name, topic in metadata.list_topics(timeout=30).topics.items()
            if topic.partitions
        }
        metadata.close()
        self._writer = self._open_writer(self._transactional_id)
        self._members = [self._member(index) for index in range(len(spec.members))]
        for member in self._members:
            found = member.basis.last()
            if found is not None and found[1].transactional_id != self._transactional_id:
                self._open_writer(found[1].transactional_id).close()
        for member in self._members:
            load_history(member)
        self.restored = self._replay()
        for member in self._members[1:]:
            self._check_caught_up(member)
        head = self._members[0]
        positions = self._head_positions(head.positions)
        reader = InputReader(self._consumer("input"), positions, with_headers=spec.with_headers)
        head.positions = reader.positions
        self._announce()
        self._checkpoint_due = time.monotonic() + self.settings.checkpoint_seconds
        self._events_since_checkpoint = self._members[0].events_since_checkpoint
        self._observer.restored(self.restored)
        return reader

    def _member(self, index: int) -> MemberHistory:
        stage = self.spec.members[index]
        folder = self._wiring.state_dir / stage.name / str(self._shard)
        checkpointer = Checkpointer(
            self._store, folder, service=stage.name, shard=self._shard, code_rev=self.spec.code_rev
        )
        basis = BasisLog(self._consumer("basis"), f"basis.{stage.name}", self._shard)
        return MemberHistory(stage, self._shard, basis, checkpointer)

    def _replay(self) -> RestoreReport:
        head = self._members[0]
        starts = starts_of(head.pending)
        if not starts:
            return replay_pending(
                self.spec,
                self._members,
                lambda _: [],
                LoggedPlaces(self._partitions),
                accept_code_change=self.settings.accept_code_change,
            )
        consumer = self._consumer("replay")
        ranges = RangeReader(consumer, starts, with_headers=self.spec.with_headers)
        try:
            return replay_pending(
                self.spec,
                self._members,
                lambda record: ranges.read(record.inputs),
                LoggedPlaces(self._partitions),
                accept_code_change=self.settings.accept_code_change,
            )
        finally:
            consumer.close()

    def _check_caught_up(self, member: MemberHistory) -> None:
        """A chained member is fed in memory, so nothing may wait for it on the bus when the chain starts."""
        positions = {
            (topic, partition): member.positions.get((topic, partition), 0)
            for topic in member.stage.inputs
            for partition in range(self._partitions[topic])
        }
        consumer = self._consumer(f"check-{member.stage.name}")
        try:
            waiting = InputReader(consumer, positions, with_headers=frozenset()).waiting()
        finally:
            consumer.close()
        if waiting is not None:
            raise ChainNotDrainedError(
                f"{member.stage.name} has not read {describe(waiting)}: let it catch up in the old topology "
                "and drain it (SIGTERM) before the chain starts"
            )

    def _head_positions(self, known: Positions) -> Positions:
        """Known positions, and offset 0 for partitions that no batch has read yet."""
        return {
            (topic, partition): known.get((topic, partition), 0)
            for topic in self.spec.head.inputs
            for partition in range(self._partitions[topic])
        }

    def _consumer(self, purpose: str) -> Consumer:
        group = f"{self._principal}-{purpose}-{self._shard}"
        return Consumer(reader_config(self._wiring, self._principal, group=group))

    def _open_writer(self, transactional_id: str) -> TransactionalWriter:
        config = transactional_producer_config(
            self._wiring, self._principal, transactional_id=transactional_id
        )
        writer = TransactionalWriter(config, self._partitions)
        writer.open(deadline_seconds=self.settings.start_deadline_seconds, waiting=self._observer.waiting)
        return writer

    # -- batches -------------------------------------------------------------------------------------

    def _batch(self, reader: InputReader, records: Sequence[Record]) -> None:
        """Step and commit one batch, however often that takes; then take its overlays in."""
        started = time.monotonic()
        ranges = reader.ranges(records)
        head = self._members[0]
        batch = Batch(max(head.now, self._clock()), self.spec.order(records), {EVIDENCE: "object"})
        runs, batch, step_seconds = self._commit(batch, ranges)
        for run, member in zip(runs, self._members, strict=True):
            member.batch_no += 1
            member.now = batch.now
            member.stage.state.apply(run.overlay, run.coordinates, member.batch_no)
            member.positions = positions_after(member.positions, run.inputs)
        reader.advance(ranges)
        self._poison.committed(len(records), list(batch.poison))
        self._events_since_checkpoint += len(records)
        total = time.monotonic() - started
        self._observer.committed(runs, BatchTimes(total, step_seconds, total - step_seconds))

    def _commit(self, batch: Batch, ranges: Sequence[InputRange]) -> tuple[list[MemberRun], Batch, float]:
        while True:
            attempt = _Attempt()
            try:
                return self._attempt(batch, ranges, attempt)
            except TransactionAbortedError as error:
                self._observer.waiting(str(error))
                self._abort()
            except StoreUnavailable as error:
                self._observer.waiting(f"evidence goes inline: {error}")
                self._abort()
                batch = Batch(batch.now, batch.records, {EVIDENCE: "inline"}, batch.poison)
            except (TransactionUnknownError, FencedError) as error:
                self._observer.waiting(str(error))
                if self._settle(error) and attempt.done is not None:
                    return attempt.done
            except StageError:
                raise
            except Exception as error:  # noqa: BLE001 - the step raised: find the record on which
                self._abort()
                batch = self._without_poison(batch, error)
            self._give_up_if_stopped()
            self._stop.wait(self.settings.retry_backoff_seconds)

    def _give_up_if_stopped(self) -> None:
        """A stop that was asked for while the broker is away must not wait for it: nothing is half done."""
        if self._stop.is_set():
            raise StageError(
                f"{self._principal}: stopped with a batch under way; the next start steps it again"
            )

    def _attempt(
        self, batch: Batch, ranges: Sequence[InputRange], attempt: "_Attempt"
    ) -> tuple[list[MemberRun], Batch, float]:
        writer = self._writer
        assert writer is not None
        started = time.monotonic()
        placing = 0.0

        def place(_index: int, facts: Sequence[Output]) -> list:  # type: ignore[type-arg]
            nonlocal placing
            before = time.monotonic()
            coordinates = writer.place(facts)
            placing += time.monotonic() - before
            return coordinates

        writer.begin()
        runs = run_chain(self.spec.members, batch, ranges, place)
        for run in runs:
            for put in run.artifacts:
                self._store.put_content(put.prefix, put.content, put.suffix)
            writer.write(run.resolved())
        for run, member in zip(runs, self._members, strict=True):
            record = self._basis_record(run, member, batch)
            writer.write_to(f"basis.{member.stage.name}", self._shard, record.encode(), member.wrote)
        step_seconds = time.monotonic() - started - placing
        attempt.done = (runs, batch, step_seconds)
        writer.commit()
        return attempt.done

    def _basis_record(self, run: MemberRun, member: MemberHistory, batch: Batch) -> BasisRecord:
        head = member is self._members[0]
        poison = [
            (r.topic, r.partition, r.offset, error)
            for index, error in (batch.poison.items() if head else ())
            for r in (batch.records[index],)
        ]
        return BasisRecord(
            service=member.stage.name,
            shard=self._shard,
            batch_no=member.batch_no + 1,
            inputs=run.inputs,
            now=batch.now,
            code_rev=self.spec.code_rev,
            transactional_id=self._transactional_id,
            outputs_digest=run.digest(),
            outputs=coordinate_runs(run.coordinates),
            environment=dict(batch.environment),
            poison=poison,
            checkpoint=member.checkpointer.latest,
            events=run.events,
            chain=self.spec.name,
        )

    def _without_poison(self, batch: Batch, error: Exception) -> Batch:
        """The same batch with the records on which the head raises marked. Raises when there are none."""
        poison = self._poison.isolate(self.spec.head, batch)
        if poison == batch.poison:
            raise StageError(
                f"{self.spec.head.name}: step failed: {type(error).__name__}: {error}"
            ) from error
        log.error("stage.poison", records=len(poison), error=str(error))
        return Batch(batch.now, batch.records, batch.environment, poison)

    # -- failures ------------------------------------------------------------------------------------

    def _abort(self) -> None:
        assert self._writer is not None
        try:
            self._writer.abort()
        except (TransactionUnknownError, TransactionAbortedError, FencedError) as error:
            self._settle(error)

    def _settle(self, error: StageError) -> bool:
        """Open a new writer after an unknown outcome; True when the batch under way was committed.

        Raises FencedError when another instance has announced itself since.
        """
        assert self._writer is not None
        self._writer.close()
        if isinstance(error, FencedError):
            self._raise_if_replaced(error)
        self._writer = self._open_writer(self._transactional_id)
        self._raise_if_replaced(error)
        head = self._members[0]
        found = head.basis.last()
        return found is not None and found[1].batch_no > head.batch_no

    def _raise_if_replaced(self, error: StageError) -> None:
        """A transaction that timed out is fenced by the broker, a younger instance by announcing itself."""
        head = self._members[0]
        for _, record in reversed(head.basis.since(max(0, head.basis_next))):
            instance = record.environment.get(INSTANCE)
            if instance is not None and instance != self._instance:
                raise FencedError(
                    f"another instance of {self._transactional_id} took over: {error}"
                ) from error
            if instance == self._instance:
                return

    # -- checkpoints ---------------------------------------------------------------------------------

    def _checkpoint_if_due(self) -> None:
        sealed = [member.checkpointer.finished() for member in self._members]
        now = time.monotonic()
        age = now - min(member.checkpointer.sealed_at for member in self._members)
        problem = next((m.checkpointer.problem for m in self._members if m.checkpointer.problem), None)
        self._observer.checkpoint(age, problem, self.settings.max_checkpoint_age_seconds)
        if any(locator is not None for locator in sealed):
            log.info("checkpoint.sealed", locators=[str(locator.uri) for locator in sealed if locator])
        due = now >= self._checkpoint_due or self._events_since_checkpoint >= self.settings.checkpoint_events
        if due and not any(member.checkpointer.busy for member in self._members):
            self._start_checkpoint()

    def _start_checkpoint(self) -> None:
        self._checkpoint_due = time.monotonic() + self.settings.checkpoint_seconds
        self._events_since_checkpoint = 0
        for member in self._members:
            point = CheckpointPoint(member.batch_no, member.now, member.basis_next, dict(member.positions))
            member.checkpointer.start(member.stage.state.freeze(), point)

    def _announce(self) -> None:
        """Write a basis record that is no batch: it names this instance and the newest checkpoint."""
        writer = self._writer
        assert writer is not None
        writer.begin()
        for member in self._members:
            record = BasisRecord(
                service=member.stage.name,
                shard=self._shard,
                batch_no=member.batch_no,
                inputs=[],
                now=member.now,
                code_rev=self.spec.code_rev,
                transactional_id=self._transactional_id,
                outputs_digest="",
                environment={INSTANCE: self._instance},
                checkpoint=member.checkpointer.latest,
                chain=self.spec.name,
            )
            writer.write_to(f"basis.{member.stage.name}", self._shard, record.encode(), member.wrote)
        writer.commit()

    def _drain(self) -> None:
        """Seal a checkpoint at the last batch, so that the next start, of any code, replays nothing."""
        self._observer.draining()
        for member in self._members:
            member.checkpointer.finished(wait_seconds=60)
        self._start_checkpoint()
        for member in self._members:
            member.checkpointer.finished(wait_seconds=120)
            if member.checkpointer.problem is not None:
                log.error("drain.without_checkpoint", problem=member.checkpointer.problem)
        self._announce()
        assert self._writer is not None
        self._writer.close()


class _Attempt:
    """What an attempt had ready when its commit failed: needed when the commit turns out to have happened."""

    def __init__(self) -> None:
        self.done: tuple[list[MemberRun], Batch, float] | None = None
