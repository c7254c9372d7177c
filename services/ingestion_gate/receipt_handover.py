"""What the gate's own batches wrote to its audit topics, handed to the index so that nothing is read back.

Offsets tell whether a batch goes on from what is indexed: every transaction ends in one marker in each of
its partitions, so the next record of the next transaction stands one behind the last. Whatever else stands
between (another shard's records, an aborted attempt) makes a longer gap, and what is in a gap has to be read.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple, Self

from services.ingestion_gate.receipt_index import identities_in, place_base
from sluice_kit.stage import Coordinate
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.landing import Landing

FOLLOWED: Final = frozenset({"audit.receipt", "audit.quarantine"})
GOVERNANCE_TOPIC: Final = "audit.governance"
MARKER: Final = 1
_MOST_WAITING: Final = 8

Place = tuple[str, int]


class Fit(Enum):
    """How a batch stands to what is indexed: right behind it, (partly) in it, or behind something unknown."""

    NEXT = "next"
    READ = "read"
    BEHIND_A_GAP = "gap"


class Handed(NamedTuple):
    """A committed batch and where its records stand; `actions` are those of operators."""

    landing: Landing
    ranges: Mapping[Place, range]
    actions: Sequence[tuple[Coordinate, bytes]] = ()

    @classmethod
    def of(cls, run: MemberRun) -> Self | None:
        """None when it is not known where everything stands."""
        assert run.landing is not None
        ranges = run.landing.ranges()
        governed = [at for at in run.coordinates if at.topic == GOVERNANCE_TOPIC]
        if ranges is None or not governed:
            return None if ranges is None else cls(run.landing, ranges)
        spans: dict[Place, list[int]] = {}
        for topic, partition, offset in governed:
            spans.setdefault((topic, partition), []).append(offset)
        if any(offsets[-1] - offsets[0] + 1 != len(offsets) for offsets in spans.values()):
            return None
        ranges |= {place: range(offsets[0], offsets[-1] + 1) for place, offsets in spans.items()}
        values = [fact.value for fact in run.facts if fact.topic == GOVERNANCE_TOPIC]
        return cls(run.landing, ranges, list(zip(governed, values, strict=True)))

    def fit(self, positions: Mapping[Place, int]) -> Fit:
        """How it stands to the next offsets that are not indexed yet."""
        ahead = [offsets.start - positions[place] for place, offsets in self.ranges.items()]
        if max(ahead) > MARKER:
            return Fit.BEHIND_A_GAP
        return Fit.NEXT if min(ahead) >= 0 else Fit.READ

    def entries(self, positions: Mapping[Place, int]) -> tuple[list[bytes], list[int]]:
        """Ids and their places on the bus, of the records from `positions` on."""
        numbers = {place: iter(offsets) for place, offsets in self.ranges.items()}
        bases = {place: place_base(*place) for place in self.ranges}
        identities: list[bytes] = []
        places: list[int] = []
        for (topic, key, value), place in zip(self.landing.outputs, self.landing.places, strict=True):
            offset = next(numbers[place])
            if offset >= positions[place]:
                found = identities_in(topic, key, value)
                identities += found
                places += [bases[place] + offset] * len(found)
        return identities, places


class Handover:
    """One thread gives, one takes. Holds a few batches; of one that is not held it says so."""

    def __init__(self) -> None:
        self._waiting: deque[Handed] = deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._skipped = False

    def give(self, runs: Iterable[MemberRun]) -> None:
        """Hand over what was committed."""
        for run in runs:
            if run.landing is None or not run.landing.outputs:
                continue
            handed = Handed.of(run)
            with self._changed:
                self._skipped |= handed is None or len(self._waiting) == _MOST_WAITING
                if handed is not None:
                    self._waiting.append(handed)
                self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Return as soon as there is something to do, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._skipped, seconds)

    def skipped(self) -> bool:
        """Whether a batch, since this was last asked, was not kept: the log has to be read to its end."""
        with self._changed:
            skipped, self._skipped = self._skipped, False
        return skipped

    def first(self) -> Handed | None:
        """The oldest batch that waits."""
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def drop(self, handed: Handed) -> None:
        """It is dealt with."""
        with self._changed:
            if self._waiting and self._waiting[0] is handed:
                self._waiting.popleft()
