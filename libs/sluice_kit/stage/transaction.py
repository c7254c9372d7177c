"""One transaction a batch: facts, then what names their coordinates, then the basis record."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

from sluice_kit.kafka import ClientConfig
from sluice_kit.kafka.cluster import RequestFailed
from sluice_kit.kafka.partitioner import places_of
from sluice_kit.kafka.transaction_client import TransactionClient, nothing
from sluice_kit.kafka.wire import AccessRefused, ConnectionLost
from sluice_kit.places import Coordinate, Place
from sluice_kit.stage.delivery import PlacedFacts
from sluice_kit.stage.errors import FencedError, TransactionAbortedError, TransactionUnknownError
from sluice_kit.stage.foresight import Foresight
from sluice_kit.stage.landing import Landing
from sluice_kit.stage.model import Output

_RETRY_SECONDS = 0.2


class TransactionalWriter:
    """A transactional producer whose failures have three names: aborted, unknown, fenced.

    Aborted: nothing was written, step the batch again. Unknown: the commit may have happened; open a new
    writer and read the basis log. Fenced: another instance owns the transactional id now.
    """

    def __init__(self, config: ClientConfig, partitions: Mapping[str, int]) -> None:
        self.transactional_id: str = config["transactional.id"]
        self._client = TransactionClient(config)
        self._partitions = partitions
        self._broken = False
        """The client failed within a transaction, which only a new writer can end."""
        self._foresight = Foresight()
        self._told: list[tuple[Place, int, Callable[[int], None]]] = []
        """Who wants to know the offset of which record of a partition."""

    def open(self, *, deadline_seconds: float, waiting: Callable[[str], None]) -> None:
        """Fence every older instance of this transactional id; keeps trying while the broker is away.

        Raises TransactionUnknownError after `deadline_seconds` or where access is refused, FencedError when
        a younger instance exists.
        """
        deadline = time.monotonic() + deadline_seconds
        while True:
            try:
                self._client.init()
            except (RequestFailed, AccessRefused, ConnectionLost) as error:
                self._client.close()
                if isinstance(error, RequestFailed) and error.fenced:
                    raise FencedError(str(error)) from error
                lasting = isinstance(error, AccessRefused) or (
                    isinstance(error, RequestFailed) and not error.retriable
                )
                if lasting or time.monotonic() > deadline:
                    raise TransactionUnknownError(f"{self.transactional_id} cannot start: {error}") from error
                waiting(f"waiting for the transaction coordinator: {error}")
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def begin(self) -> None:
        """Start the batch's transaction."""
        self._foresight.begin()
        self._told.clear()
        self._client.begin()

    def place(self, facts: Sequence[Output]) -> list[Coordinate]:
        """Write facts and tell their offsets, in the order of `facts`.

        Where nobody else writes to their partitions, offsets are foreseen and held against what the broker
        tells before the commit; else this waits for the broker.
        """
        places, keys, values = self._columns(facts)
        placed = PlacedFacts(places, self._client.written)
        with self._failures():
            self._client.append(places, keys, values)
        foreseen = self._foresight.coordinates(placed)
        if foreseen is not None:
            return foreseen
        with self._failures():
            self._client.settle()
        self._foresight.learn(placed)
        return placed.coordinates()

    def write(self, outputs: Sequence[Output], followed: frozenset[str] = frozenset()) -> Landing:
        """Append outputs; one that cannot be delivered fails the commit.

        The result says after the commit where those to `followed` topics stand.
        """
        (landing,) = self.write_parts([(outputs, followed)])
        return landing

    def write_parts(
        self, parts: Sequence[tuple[Sequence[Output], frozenset[str]]], expected: Iterable[Place] = ()
    ) -> list[Landing]:
        """`write` for several, of which each has topics that are followed.

        Records for the `expected` partitions come after them. While those are made, the coordinator hears of
        every partition.
        """
        columns = [self._columns(outputs) for outputs, _ in parts]
        written = set(chain.from_iterable(places for places, _, _ in columns))
        self._foresight.forget({topic for topic, _ in written})
        landings = []
        with self._failures():
            self._client.announce(written.union(expected))
            for (outputs, followed), (places, keys, values) in zip(parts, columns, strict=True):
                landings.append(Landing(outputs, places, followed, self._client.written))
                self._client.append(places, keys, values)
        return landings

    def write_to(self, topic: str, partition: int, value: bytes, delivered: Callable[[int], None]) -> None:
        """Append a record for an explicit partition (a basis record); `delivered` gets its offset."""
        place = (topic, partition)
        self._told.append((place, self._client.written.count(place), delivered))
        with self._failures():
            self._client.append([place], [None], [value])

    def commit(self, meanwhile: Callable[[], None] = nothing) -> None:
        """Commit, which fails when any record could not be delivered, or stands where none was expected.

        `meanwhile` is called while the brokers write. Raises one of the three named failures.
        """
        with self._failures():
            self._client.settle(meanwhile)
        unforeseen = self._foresight.disproved()
        if unforeseen:
            raise TransactionAbortedError(
                f"{self.transactional_id}: facts of {sorted(unforeseen)} stand elsewhere than foreseen"
            )
        for place, index, delivered in self._told:
            (offset,) = self._client.written.told(place, index, 1)
            delivered(offset)
        with self._failures(TransactionUnknownError):
            self._client.commit()
        self._foresight.committed()

    def abort(self) -> None:
        """Abort what is open. A failure here is named like any other."""
        if self._broken:
            raise TransactionUnknownError(f"{self.transactional_id}: its connection is of no more use")
        with self._failures(TransactionUnknownError):
            self._client.abort()

    def close(self) -> None:
        """Throw the producer away; an open transaction is aborted by the next that opens."""
        self._client.close()

    def _columns(
        self, outputs: Sequence[Output]
    ) -> tuple[list[Place], Sequence[bytes | None], Sequence[bytes]]:
        """The partition of each output, by its key, and keys and values."""
        if not outputs:
            return [], (), ()
        topics, keys, values = zip(*outputs, strict=True)
        return places_of(topics, keys, self._partitions), keys, values

    @contextmanager
    def _failures(
        self, named: type[TransactionAbortedError | TransactionUnknownError] = TransactionAbortedError
    ) -> Iterator[None]:
        """Give the client's failures the name that tells what to do."""
        try:
            yield
        except (RequestFailed, AccessRefused, ConnectionLost) as error:
            self._broken = True
            if isinstance(error, RequestFailed) and error.fenced:
                raise FencedError(f"{self.transactional_id}: {error}") from error
            raise named(f"{self.transactional_id}: {error}") from error
