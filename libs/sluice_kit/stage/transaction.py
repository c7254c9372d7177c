"""One transaction a batch: facts, then what names their coordinates, then the basis record."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from sluice_kit.kafka import ClientConfig
from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.stage.errors import FencedError, TransactionAbortedError, TransactionUnknownError
from sluice_kit.stage.model import Coordinate, Output

log = structlog.get_logger(__name__)

Ready = tuple[str, bytes, bytes | None, int, Callable[..., None]]
"""Topic, value, key, partition (-1: by key) and delivery callback: the arguments of `produce`."""

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
        self._partitioner = Partitioner()
        self._failure: KafkaError | None = None

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
        self._failure = None
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            self._classify(error)

    def place(self, facts: Sequence[Output]) -> list[Coordinate]:
        """Write facts and wait for their offsets; the result is in the order of `facts`."""
        offsets: dict[tuple[str, int], list[int]] = {}

        def delivered(error: KafkaError | None, message: KafkaMessage) -> None:
            if error is not None:
                self._failure = self._failure or error
                return
            offsets[message.topic(), message.partition()].append(message.offset())

        where: list[tuple[str, int]] = []
        partition_of, partitions = self._partitioner.partition, self._partitions
        ready: list[Ready] = []
        for fact in facts:
            key = fact.key or b""
            at = (fact.topic, partition_of(key, partitions[fact.topic]))
            if at not in offsets:
                offsets[at] = []
            where.append(at)
            ready.append((fact.topic, fact.value, key, at[1], delivered))
        self._produce(ready)
        self._flush()
        cursors = {at: iter(given) for at, given in offsets.items()}
        return [Coordinate(*at, next(cursors[at])) for at in where]

    def write(self, outputs: Sequence[Output]) -> None:
        """Queue outputs whose coordinates nobody needs; delivery errors surface at the commit."""
        checked = self._checked
        self._produce([(out.topic, out.value, out.key, -1, checked) for out in outputs])

    def write_to(self, topic: str, partition: int, value: bytes, delivered: Callable[[int], None]) -> None:
        """Queue a record for an explicit partition (a basis record); `delivered` gets its offset."""

        def checked(error: KafkaError | None, message: KafkaMessage) -> None:
            self._checked(error, message)
            if error is None:
                delivered(message.offset())

        self._produce([(topic, value, None, partition, checked)])

    def commit(self) -> None:
        """Commit. Raises one of the three named failures."""
        try:
            self._producer.commit_transaction(COMMIT_SECONDS)
        except KafkaException as error:
            self._classify(error)
        if self._failure is not None:
            raise TransactionUnknownError(f"{self.transactional_id}: {self._failure}")

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

    def _checked(self, error: KafkaError | None, _message: KafkaMessage) -> None:
        if error is not None:
            self._failure = self._failure or error

    def _produce(self, ready: Sequence[Ready]) -> None:
        """Hand records to librdkafka, in order; a full local queue makes it wait (back-pressure)."""
        produce = self._producer.produce
        done = 0
        while done < len(ready):
            try:
                for arguments in ready[done:] if done else ready:
                    produce(*arguments)
                    done += 1
            except BufferError:
                self._served(lambda: self._producer.poll(0.05))
            except KafkaException as error:
                self._classify(error)

    def _flush(self) -> None:
        left = self._served(lambda: self._producer.flush(FLUSH_SECONDS))
        if self._failure is not None:
            if self._failure.code() in FENCED_CODES:
                raise FencedError(f"{self.transactional_id}: {self._failure.str()}")
            raise TransactionAbortedError(f"{self.transactional_id}: {self._failure}")
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

    def _classify(self, error: KafkaException) -> None:
        cause: KafkaError = error.args[0]
        if cause.code() in FENCED_CODES:
            raise FencedError(f"{self.transactional_id}: {cause.str()}") from error
        if cause.txn_requires_abort():
            raise TransactionAbortedError(f"{self.transactional_id}: {cause}") from error
        raise TransactionUnknownError(f"{self.transactional_id}: {cause}") from error
