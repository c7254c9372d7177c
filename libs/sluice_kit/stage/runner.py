"""Runs a chain of stages against a broker: one loop, one transaction a batch, restart by replay.

The order of a batch: read, order, step, put artifacts, write facts, learn their coordinates, write what
names them, write each member's basis record, commit, apply the overlays. A failure before the commit
leaves nothing; a failure during it is settled by reading the basis log.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import structlog

from sluice_kit.artifacts import ArtifactStore, StoreUnavailable
from sluice_kit.config import Wiring
from sluice_kit.kafka.transaction_client import nothing
from sluice_kit.places import Coordinate
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.stage.announcing import INSTANCE, announcement
from sluice_kit.stage.basis import BasisRecord, runs_of_passes
from sluice_kit.stage.batch_size import BatchSize
from sluice_kit.stage.chain import MemberRun, positions_after, run_chain
from sluice_kit.stage.environment import looked_up, with_evidence
from sluice_kit.stage.errors import (
    FencedError,
    StageError,
    TransactionAbortedError,
    TransactionUnknownError,
)
from sluice_kit.stage.model import (
    Batch,
    InputRange,
    Output,
    Record,
    followed_by,
)
from sluice_kit.stage.observer import BatchTimes, StageObserver
from sluice_kit.stage.opening import OpenShard, ShardPlace, open_shard, open_writer
from sluice_kit.stage.poison import PoisonWatch, described, logged_poison, trial_of
from sluice_kit.stage.restore import MemberHistory, RestoreReport
from sluice_kit.stage.sealing import ChainCheckpoints
from sluice_kit.stage.source import ReadAhead
from sluice_kit.stage.spec import ChainSpec, StageSettings
from sluice_kit.stage.ticking import Ticker

log = structlog.get_logger(__name__)

LAG_SECONDS = 5.0
STOP_LOOK_SECONDS = 0.1
"""How often an idle stage looks whether it is to stop."""


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
        self._instance = uuid.uuid4().hex
        self._place = ShardPlace(spec, wiring, store, self.settings, shard, self._instance)
        self._store = store
        self._observer = observer
        self._clock = clock
        self._stop = threading.Event()
        self._poison = PoisonWatch(self.settings.poison)
        self._size = BatchSize(self.settings.max_batch_records, self.settings.transaction_timeout_seconds)
        self._open: OpenShard | None = None
        self._prepare_waiting: Callable[[], None] = nothing
        self._spent: object = None
        """What the last batch was made of: to free tens of thousands of objects takes a millisecond."""
        self.restored: RestoreReport | None = None

    def stop(self) -> None:
        """Ask for a drain; safe from any thread and from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Start, step until stopped, drain. Raises StageError."""
        shard = self._open = open_shard(self._place, self._observer.waiting)
        self._announce(shard)
        self.restored = shard.restored
        self._observer.restored(shard.restored)
        checkpoints = ChainCheckpoints(shard.members, self.settings, self._observer)
        self._step_until_stopped(shard, checkpoints)
        self._observer.draining()
        checkpoints.drain()
        self._announce(shard, drained=True)
        shard.writer.close()
        shard.reader.close()

    def _step_until_stopped(self, shard: OpenShard, checkpoints: ChainCheckpoints) -> None:
        ahead = ReadAhead(
            shard.reader,
            self.spec.prepare,
            2 * self.settings.max_batch_records,
            self.spec.unhurried,
            self.settings.linger_seconds,
        )
        self._prepare_waiting = ahead.prepare_waiting
        ticker = Ticker(self.spec.members, self.settings.idle_tick_seconds)
        lag_due = time.monotonic()
        try:
            with quiet_collector() as tidy:
                while not self._stop.is_set():
                    records = ahead.take(self._size.now, min(STOP_LOOK_SECONDS, ticker.seconds_left))
                    if records or not ticker.seconds_left:
                        taken = self._batch(shard, records)
                        ahead.give_back(records[taken:])
                        ticker.stepped(self._now(shard))
                        if time.monotonic() > lag_due:
                            lag_due = time.monotonic() + LAG_SECONDS
                            self._observer.lag(shard.reader.lag())
                        checkpoints.after_batch(taken)
                        tidy(taken)
        finally:
            ahead.stop()

    # -- batches -------------------------------------------------------------------------------------

    def _batch(self, shard: OpenShard, records: Sequence[Record]) -> int:
        """Step and commit a batch of the first of these records, however often that takes; how many it had.

        Its overlays are taken in. One that does not get through its transaction in time is cut, and the rest
        is left for the batches that follow.
        """
        while True:
            started = time.monotonic()
            ranges = shard.reader.ranges(records)
            lag = sum(shard.reader.lag().values())
            batch = Batch(self._now(shard), self.spec.head.order(records), looked_up(lag))
            done = self._commit(batch, ranges)
            if done is not None:
                break
            records = records[: self._size.now]
        runs, batch, step_seconds, seconds = done
        for run, member in zip(runs, shard.members, strict=True):
            member.batch_no += 1
            member.now = batch.now
            member.stage.state.apply(run.overlay, run.coordinates, member.batch_no)
            member.positions = positions_after(member.positions, run.inputs)
        shard.reader.advance(ranges)
        self._poison.committed(len(records), list(batch.poison))
        total = time.monotonic() - started
        self._size.committed(len(records), seconds)
        self._observer.committed(runs, BatchTimes(total, step_seconds, total - step_seconds), records)
        self._spent = done, records
        return len(records)

    def _now(self, shard: OpenShard) -> int:
        """The `now` of a batch at this moment; it never goes back, whatever the clock does."""
        return max(shard.members[0].now, self._clock())

    def _commit(self, batch: Batch, ranges: Sequence[InputRange]) -> "_Done | None":
        """Step and commit a batch until it is in the log; None when it is too large to get there."""
        suspect: Exception | None = None
        while True:
            attempt = _Attempt()
            try:
                if suspect is not None:
                    batch, suspect = self._without_poison(batch, suspect), None
                with attempt:
                    return self._attempt(batch, ranges, attempt)
            except TransactionAbortedError as error:
                self._observer.waiting(str(error))
                self._abort()
                batch = replace(batch, environment=with_evidence(batch.environment, "object"))
            except StoreUnavailable as error:
                self._observer.waiting(f"evidence goes inline: {error}")
                self._abort()
                batch = replace(batch, environment=with_evidence(batch.environment, "inline"))
            except (TransactionUnknownError, FencedError) as error:
                self._observer.waiting(str(error))
                if self._settle(error) and attempt.done is not None:
                    return attempt.done
                batch = replace(batch, environment=with_evidence(batch.environment, "object"))
            except StageError:
                raise
            except Exception as error:  # noqa: BLE001 - the step raised: find the record on which
                self._abort()
                suspect = error
                continue
            self._give_up_if_stopped()
            if self._size.failed(len(batch.records), attempt.seconds):
                log.warning("batch.too_large", records=len(batch.records), seconds=attempt.seconds)
                return None
            self._stop.wait(self.settings.retry_backoff_seconds)

    def _give_up_if_stopped(self) -> None:
        """A stop that was asked for while the broker is away must not wait for it: nothing is half done."""
        if self._stop.is_set():
            raise StageError(
                f"{self._place.principal}: stopped with a batch under way; the next start steps it again"
            )

    def _attempt(self, batch: Batch, ranges: Sequence[InputRange], attempt: "_Attempt") -> "_Done":
        shard = self._shard
        writer = shard.writer
        started = time.monotonic()
        placing = 0.0

        def place(_index: int, facts: Sequence[Output]) -> list[Coordinate]:
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
        basis = [(f"basis.{member.stage.name}", self._place.shard) for member in shard.members]
        landings = writer.write_parts([(run.resolved(), followed_by(run.stage)) for run in runs], basis)
        for run, member, landing, place_of_basis in zip(runs, shard.members, landings, basis, strict=True):
            run.landing = landing
            record = self._basis_record(run, member, batch)
            writer.write_to(*place_of_basis, record.encode(), member.wrote)
        step_seconds = time.monotonic() - started - placing
        attempt.done = _Done(runs, batch, step_seconds, time.monotonic() - started)
        writer.commit(self._while_brokers_write)
        return attempt.done._replace(seconds=time.monotonic() - started)

    def _while_brokers_write(self) -> None:
        """Free the batch before, and prepare what comes next: neither depends on what becomes of this one."""
        self._spent = None
        self._prepare_waiting()

    def _basis_record(self, run: MemberRun, member: MemberHistory, batch: Batch) -> BasisRecord:
        head = member is self._shard.members[0]
        outputs, runs_by_pass = runs_of_passes(run.coordinates, run.facts_by_pass)
        return BasisRecord(
            service=member.stage.name,
            shard=self._place.shard,
            batch_no=member.batch_no + 1,
            inputs=run.inputs,
            now=batch.now,
            code_rev=self.spec.code_rev,
            transactional_id=self._place.transactional_id,
            outputs_digest=run.digest(),
            outputs=outputs,
            runs_by_pass=runs_by_pass,
            environment=dict(batch.environment),
            poison=logged_poison(batch) if head else (),
            checkpoint=member.checkpointer.latest,
            events=run.events,
            chain=self.spec.name,
        )

    def _without_poison(self, batch: Batch, error: Exception) -> Batch:
        """The same batch with the records on which a member raises marked. Raises when there are none."""
        poison = self._poison.isolate(trial_of(self.spec.members, self._shard.partitions), batch)
        if poison == batch.poison:
            cause = described(error)
            raise StageError(f"{self.spec.name or self.spec.head.name}: step failed: {cause}") from error
        log.error("stage.poison", records=len(poison), error=described(error))
        return replace(batch, poison=poison)

    # -- failures ------------------------------------------------------------------------------------

    @property
    def _shard(self) -> OpenShard:
        assert self._open is not None, "run() opens the shard"
        return self._open

    def _abort(self) -> None:
        try:
            self._shard.writer.abort()
        except (TransactionUnknownError, TransactionAbortedError, FencedError) as error:
            self._settle(error)

    def _settle(self, error: StageError) -> bool:
        """Open a new writer after an unknown outcome; True when the batch under way was committed.

        Raises FencedError when another instance has announced itself since.
        """
        shard = self._shard
        shard.writer.close()
        if isinstance(error, FencedError):
            self._look_for_successor(error)
        identity = self._place.transactional_id
        shard.writer = open_writer(self._place, identity, shard.partitions, self._observer.waiting)
        self._raise_if_replaced(error)
        head = shard.members[0]
        found = head.basis.last()
        return found is not None and found[1].batch_no > head.batch_no

    def _look_for_successor(self, error: FencedError) -> None:
        """A younger instance announces itself right after it fenced this one: give it the time to."""
        deadline = time.monotonic() + self.settings.takeover_seconds
        while True:
            self._raise_if_replaced(error)
            if time.monotonic() > deadline or self._stop.wait(self.settings.retry_backoff_seconds):
                return

    def _raise_if_replaced(self, error: StageError) -> None:
        """A transaction that timed out is fenced by the broker, a younger instance by announcing itself."""
        head = self._shard.members[0]
        for _, record in reversed(head.basis.since(max(0, head.basis_next))):
            instance = record.environment.get(INSTANCE)
            if instance is not None and instance != self._instance:
                identity = self._place.transactional_id
                raise FencedError(f"another instance of {identity} took over: {error}") from error

    def _announce(self, shard: OpenShard, *, drained: bool = False) -> None:
        """Write a basis record that is no batch: it names this instance and the newest checkpoint."""
        writer = shard.writer
        writer.begin()
        for member in shard.members:
            record = announcement(
                service=member.stage.name,
                shard=self._place.shard,
                instance=self._instance,
                code_rev=self.spec.code_rev,
                transactional_id=self._place.transactional_id,
                batch_no=member.batch_no,
                now=member.now,
                checkpoint=member.checkpointer.latest,
                chain=self.spec.name,
                drained=drained,
            )
            topic = f"basis.{member.stage.name}"
            writer.write_to(topic, self._place.shard, record.encode(), member.wrote)
        writer.write([] if drained else self._place.audit(shard.restored, self._clock()))
        writer.commit()


class _Done(NamedTuple):
    """A batch that was stepped: what each member did, and the batch as it was stepped.

    `step_seconds` were spent in steps; `seconds` is how long its transaction took, as far as known.
    """

    runs: list[MemberRun]
    batch: Batch
    step_seconds: float
    seconds: float


class _Attempt:
    """One attempt at a transaction: how long it took, and what it had ready when its commit failed.

    That is needed when the commit turns out to have happened.
    """

    def __init__(self) -> None:
        self.done: _Done | None = None
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
