"""One transaction a batch: facts, then what names their coordinates, then the basis record."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import repeat

import numpy as np
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from sluice_kit.kafka import ClientConfig
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.kafka.partitioner import hashes_of
from sluice_kit.stage.delivery import Callback, DeliveryReports
from sluice_kit.stage.errors import FencedError, TransactionAbortedError, TransactionUnknownError
from sluice_kit.stage.foresight import Foresight
from sluice_kit.stage.landing import Landing
from sluice_kit.stage.model import Coordinate, Output

log = structlog.get_logger(__name__)

BY_KEY = -1
Ready = tuple[str, bytes, bytes | None, int, Callable[..., None] | None]
"""Topic, value, key, partition or BY_KEY, and delivery callback: the arguments of `produce`.

One call a record costs a third less than `produce_batch`, which wants a dictionary for each. Each report of a
delivery takes the interpreter's lock, so only records that have something to tell ask."""

FENCED_CODES = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001
)
FLUSH_SECONDS = 30.0
COMMIT_SECONDS = 30.0
INIT_SECONDS = 30.0


class TransactionalWriter:
    """A transactional producer whose failures have three names: aborted, unknown, fenced.

    Aborted: nothing was written, step the batch again. Unknown: the commit may have happened; open a new
    writer and read the basis log. Fenced: another instance owns the transactional id now.
    """

    def __init__(self, config: ClientConfig, partitions: Mapping[str, int]) -> None:
        self.transactional_id: str = config["transactional.id"]
        self._producer = Producer(config)
        self._partitions = partitions
        self._exact: set[str] = set()
        """Topics in which others write as well, so that every record has to say where it stands."""
        self._foresight = Foresight()

    def open(self, *, deadline_seconds: float, waiting: Callable[[str], None]) -> None:
        """Fence every older instance of this transactional id; keeps trying while the broker is away.

        Raises TransactionUnknownError after `deadline_seconds`, FencedError when a younger instance exists.
        """
        deadline = time.monotonic() + deadline_seconds
        while True:
            try:
                self._producer.init_transactions(INIT_SECONDS)
            except KafkaException as error:
                cause = error.args[0]
                if cause.code() in FENCED_CODES:
                    raise FencedError(f"{self.transactional_id}: {cause.str()}") from error
                if not cause.retriable() or time.monotonic() > deadline:
                    raise TransactionUnknownError(f"{self.transactional_id} cannot start: {cause}") from error
                waiting(f"waiting for the transaction coordinator: {cause.str()}")
            else:
                return

    def begin(self) -> None:
        """Start the batch's transaction."""
        self._foresight.begin()
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            self._classify(error)

    def place(self, facts: Sequence[Output]) -> list[Coordinate]:
        """Write facts and tell their offsets, in the order of `facts`.

        Where nobody else writes to their partitions, offsets are foreseen and held against the delivery
        reports before the commit; else this waits for the reports.
        """
        topics, given, values = _columns(facts)
        keys = [key or b"" for key in given]
        counts = np.fromiter(map(self._partitions.__getitem__, topics), np.int64, len(topics))
        partitions = (hashes_of(keys) % counts).tolist()
        places = list(zip(topics, partitions, strict=True))
        reports = DeliveryReports(places, self._exact)
        self._produce(zip(topics, values, keys, partitions, reports.callbacks(), strict=True))
        foreseen = self._foresight.coordinates(reports)
        if foreseen is not None:
            return foreseen
        self._flush(reports)
        found = reports.coordinates()
        if isinstance(found, set):
            self._exact |= found
            self._foresight.wait_for(found)
            raise TransactionAbortedError(
                f"{self.transactional_id}: facts of {sorted(found)} do not stand one after another"
            )
        self._foresight.learn(reports)
        return found

    def write(self, outputs: Sequence[Output], followed: frozenset[str] = frozenset()) -> Landing:
        """Queue outputs; one that cannot be delivered fails the commit.

        The result says after the commit where those to `followed` topics stand.
        """
        topics, keys, values = _columns(outputs)
        self._foresight.forget(set(topics))
        landing = Landing(outputs, followed, self._partitions)
        callbacks: list[Callback | None] = [None] * len(outputs)
        for at in landing.asked():
            callbacks[at] = landing.delivered
        self._produce(zip(topics, values, keys, repeat(BY_KEY, len(outputs)), callbacks, strict=True))
        return landing

    def write_to(self, topic: str, partition: int, value: bytes, delivered: Callable[[int], None]) -> None:
        """Queue a record for an explicit partition (a basis record); `delivered` gets its offset."""

        def reported(error: KafkaError | None, message: KafkaMessage) -> None:
            if error is None:
                delivered(message.offset())

        self._produce([(topic, value, None, partition, reported)])

    def commit(self) -> None:
        """Commit, which fails when any record could not be delivered, or stands where none was expected.

        Raises one of the three named failures.
        """
        self._flush(*self._foresight.reports)
        unforeseen = self._foresight.disproved()
        if unforeseen:
            raise TransactionAbortedError(
                f"{self.transactional_id}: facts of {sorted(unforeseen)} stand elsewhere than foreseen"
            )
        try:
            self._producer.commit_transaction(COMMIT_SECONDS)
        except KafkaException as error:
            self._classify(error)
        self._foresight.committed()

    def abort(self) -> None:
        """Abort what is open. A failure here is named like any other."""
        try:
            self._producer.abort_transaction(COMMIT_SECONDS)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() == KafkaError._STATE:  # noqa: SLF001 - nothing was open
                return
            self._classify(error)

    def close(self) -> None:
        """Throw the producer away; an open transaction is aborted by the next `init_transactions`."""
        with suppress(KafkaException):  # a fatal error, raised once more
            self._producer.purge()
            self._producer.flush(0)

    def _produce(self, ready: Iterable[Ready]) -> None:
        """Hand records to librdkafka, in order; a full local queue makes it wait (back-pressure)."""
        produce = self._producer.produce
        for arguments in ready:
            queued = False
            while not queued:
                try:
                    produce(*arguments)
                    queued = True
                except BufferError:
                    self._served(lambda: self._producer.poll(0.05))
                except KafkaException as error:
                    self._classify(error)

    def _flush(self, *reports: DeliveryReports) -> None:
        left = self._served(lambda: self._producer.flush(FLUSH_SECONDS))
        for failure in [item.failure for item in reports if item.failure is not None]:
            if failure.code() in FENCED_CODES:
                raise FencedError(f"{self.transactional_id}: {failure.str()}")
            raise TransactionAbortedError(f"{self.transactional_id}: {failure}")
        if left:
            raise TransactionAbortedError(
                f"{self.transactional_id}: {left} records undelivered after {FLUSH_SECONDS} s"
            )

    def _served(self, serve: Callable[[], int]) -> int:
        """Serve callbacks: a fatal error of the client (fenced) is raised by whatever call serves it."""
        try:
            return serve()
        except KafkaException as error:
            self._classify(error)
            raise
        except SystemError as error:  # the client met a fatal error while it handed a report over
            self.abort()  # which names it, when it is one
            raise TransactionAbortedError(f"{self.transactional_id}: {error}") from error

    def _classify(self, error: KafkaException) -> None:
        cause: KafkaError = error.args[0]
        if cause.code() in FENCED_CODES:
            raise FencedError(f"{self.transactional_id}: {cause.str()}") from error
        if cause.txn_requires_abort():
            raise TransactionAbortedError(f"{self.transactional_id}: {cause}") from error
        raise TransactionUnknownError(f"{self.transactional_id}: {cause}") from error


def _columns(outputs: Sequence[Output]) -> tuple[Sequence[str], Sequence[bytes | None], Sequence[bytes]]:
    """Topics, keys and values."""
    topics, keys, values = zip(*outputs, strict=True) if outputs else ((), (), ())
    return topics, keys, values
