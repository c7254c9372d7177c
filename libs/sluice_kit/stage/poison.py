"""Records on which a step raises: found one by one, refused, and counted against a limit.

A few are bad data that the stage did not foresee. Many are a bad deployment, which must stop instead of
draining its input into quarantine.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice_kit.stage.errors import PoisonLimitError
from sluice_kit.stage.model import Batch, Record, Stage


@dataclass(frozen=True, slots=True)
class PoisonLimits:
    """At most `most` poison records among the last `window` records."""

    most: int = 10
    window: int = 10_000


def first_poison(stage: Stage, batch: Batch) -> tuple[int, str] | None:
    """The index of the first record on which the step raises, with the error; None when none does.

    The step is pure, so it can be tried on prefixes of the batch, each with a fresh overlay.
    """
    error = _error_of(stage, batch, len(batch.records))
    if error is None:
        return None
    good, bad = 0, len(batch.records)
    while bad - good > 1:
        middle = (good + bad) // 2
        found = _error_of(stage, batch, middle)
        if found is None:
            good = middle
        else:
            bad, error = middle, found
    return bad - 1, error


def _error_of(stage: Stage, batch: Batch, length: int) -> str | None:
    part = replace(batch, records=batch.records[:length])
    try:
        stage.step(stage.state.overlay(), part)
    except Exception as error:  # noqa: BLE001 - whatever the step raises makes the record poison
        return f"{type(error).__name__}: {error}"
    return None


class PoisonWatch:
    """Counts poison over a sliding window of records."""

    def __init__(self, limits: PoisonLimits) -> None:
        self._limits = limits
        self._seen = 0
        self._at: deque[int] = deque()

    def isolate(self, stage: Stage, batch: Batch) -> dict[int, str]:
        """All poison of a batch on which the step raised.

        Raises PoisonLimitError past the limit, naming the first errors; an empty result means that the step
        raises on no record in particular, which is a bug of the stage.
        """
        poison: dict[int, str] = dict(batch.poison)
        while True:
            found = first_poison(stage, replace(batch, poison=poison))
            if found is None:
                return poison
            index, error = found
            if index in poison:
                raise PoisonLimitError(
                    f"{stage.name}: the step raises on a record it was told to refuse: {error}"
                )
            poison[index] = error
            if len(self._at) + len(poison) > self._limits.most:
                raise PoisonLimitError(
                    f"{stage.name}: the step raised on more than {self._limits.most} of the last "
                    f"{self._limits.window} records, last {describe(batch.records[index])}: {error}. "
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
