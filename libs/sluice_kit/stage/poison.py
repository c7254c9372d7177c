"""Records on which a step raises: found one by one, refused, and counted against a limit.

A few are bad data that the stage did not foresee. Many are a bad deployment, which must stop instead of
draining its input into quarantine. In a chain a record is poison whichever member raises on what follows from
it: the head refuses it, so no member hears of it, and a replay does the same.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sluice_kit.artifacts import StoreUnavailable
from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.places import Coordinate
from sluice_kit.stage.chain import run_chain
from sluice_kit.stage.errors import PoisonLimitError, StageError
from sluice_kit.stage.model import Batch, Output, Record, Stage

Trial = Callable[[Batch], object]
"""Steps a batch for nothing; raises what the step raises."""


@dataclass(frozen=True, slots=True)
class PoisonLimits:
    """At most `most` poison records among the last `window` records."""

    most: int = 10
    window: int = 10_000


def trial_of(members: Sequence[Stage], partitions: Mapping[str, int]) -> Trial:
    """Tries batches on a whole chain: each on fresh overlays, writing nothing, coordinates made up."""
    partitioner = Partitioner()

    def place(_index: int, facts: Sequence[Output]) -> list[Coordinate]:
        partition_of = partitioner.partition
        return [
            Coordinate(fact.topic, partition_of(fact.key or b"", partitions[fact.topic]), offset)
            for offset, fact in enumerate(facts)
        ]

    return lambda batch: run_chain(members, batch, (), place)


def first_poison(trial: Trial, batch: Batch) -> tuple[int, str] | None:
    """The index of the first record on which a step raises, with the error.

    None when none does, or when it raises without any record. Steps are pure, so they can be tried on
    prefixes of the batch.
    """
    good, bad = 0, len(batch.records)
    error = _error_of(trial, batch, bad)
    if error is None or _error_of(trial, batch, good) is not None:
        return None
    while bad - good > 1:
        middle = (good + bad) // 2
        found = _error_of(trial, batch, middle)
        if found is None:
            good = middle
        else:
            bad, error = middle, found
    return bad - 1, error


def _error_of(trial: Trial, batch: Batch, length: int) -> str | None:
    """What stepping the first `length` records raises. Raises what is no fault of a record."""
    poison = {index: error for index, error in batch.poison.items() if index < length}
    try:
        trial(replace(batch, records=batch.records[:length], poison=poison))
    except (StageError, StoreUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - whatever the step raises makes the record poison
        return described(error)
    return None


def described(error: Exception) -> str:
    """What a step raised, and which member's step it was."""
    return "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])


def logged_poison(batch: Batch) -> list[tuple[str, int, int, str]]:
    """The poison of a head's batch as its basis record has it."""
    places = [(batch.records[index][:3], error) for index, error in batch.poison.items()]
    return [(*place, error) for place, error in places]


class PoisonWatch:
    """Counts poison over a sliding window of records."""

    def __init__(self, limits: PoisonLimits) -> None:
        self._limits = limits
        self._seen = 0
        self._at: deque[int] = deque()

    def isolate(self, trial: Trial, batch: Batch) -> dict[int, str]:
        """All poison of a batch on which the step raised.

        Raises PoisonLimitError past the limit, naming the first errors; nothing new in the result means that
        the step raises on no record in particular, which is a bug of the stage.
        """
        poison: dict[int, str] = dict(batch.poison)
        while True:
            found = first_poison(trial, replace(batch, poison=poison))
            if found is None:
                return poison
            index, error = found
            place = describe(batch.records[index])
            if index in poison:
                raise PoisonLimitError(f"the step raises on a record it was told to refuse, {place}: {error}")
            poison[index] = error
            if len(self._at) + len(poison) > self._limits.most:
                raise PoisonLimitError(
                    f"the step raised on more than {self._limits.most} of the last {self._limits.window} "
                    f"records, last {place}: {error}. "
                    "This is a bad deployment, not bad data: nothing of the batch was written; roll back."
                )

    def committed(self, records: int, poison: Sequence[int]) -> None:
        """Count a committed batch."""
        self._at.extend(self._seen + index for index in sorted(poison))
        self._seen += records
        while self._at and self._at[0] < self._seen - self._limits.window:
            self._at.popleft()


def describe(record: Record) -> str:
    """Where a record stands, for an error message."""
    return f"{record.topic}/{record.partition}@{record.offset}"
