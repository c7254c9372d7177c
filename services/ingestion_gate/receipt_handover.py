"""What the gate's own batches wrote to its audit topics, handed to the index so that nothing is read back.

Offsets tell whether a batch goes on from what is indexed: every transaction ends in one marker in each of
its partitions, so the next record of the next transaction stands one behind the last. Whatever else stands
between (another shard's records, an aborted attempt) makes a longer gap, and what is in a gap has to be read.
"""

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self

import numpy as np

from services.ingestion_gate.receipt_index import TOPICS, keys_of, own_ids_in, place_base
from sluice_kit.places import Place
from sluice_kit.stage import Coordinate
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.foresight import MARKER
from sluice_kit.stage.landing import Landed, Landing

FOLLOWED: Final = frozenset({"audit.receipt", "audit.quarantine"})
GOVERNANCE_TOPIC: Final = "audit.governance"
_MOST_WAITING: Final = 8

Action = tuple[Coordinate, bytes]
"""What an operator did: where the record stands, and its value."""


class Handed(NamedTuple):
    """A committed batch and where its records stand."""

    landed: Sequence[Landed]
    actions: Sequence[Action]
    ranges: Mapping[Place, range]

    @classmethod
    def of(cls, landing: Landing, actions: Sequence[Action]) -> Self | None:
        """None when it is not known where everything stands."""
        landed = landing.landed()
        spans: dict[Place, list[int]] = {}
        for (topic, partition, offset), _ in actions:
            spans.setdefault((topic, partition), []).append(offset)
        apart = any(offsets[-1] - offsets[0] + 1 != len(offsets) for offsets in spans.values())
        if landed is None or apart:
            return None
        ranges = {place: range(offsets[0], offsets[-1] + 1) for place, offsets in spans.items()}
        for item in landed:
            ranges |= item.ranges()
        return cls(landed, actions, ranges)

    def goes_on_from(self, positions: Mapping[Place, int]) -> bool:
        """Whether nothing stands between it and the next offsets that are not indexed; it may be in part."""
        return all(offsets.start - positions[place] <= MARKER for place, offsets in self.ranges.items())

    def entries(self, positions: Mapping[Place, int]) -> tuple[bytes, list[int]]:
        """Index keys, joined, and places on the bus, of the records from `positions` on."""
        keys: list[bytes] = []
        places: list[int] = []
        for topic, outputs, partitions, offsets in self.landed:
            count = int(partitions.max()) + 1
            bases = np.array([place_base(topic, number) for number in range(count)])
            first = np.array([positions.get((topic, number), 0) for number in range(count)])
            new = offsets >= first[partitions]
            kept = outputs if new.all() else [outputs[at] for at in np.flatnonzero(new).tolist()]
            standing: list[int] = (bases[partitions] + offsets)[new].tolist()
            identities = own_ids_in([out.value for out in kept])
            places += standing
            if topic == TOPICS[0]:
                identities += [out.key or b"" for out in kept]
                places += standing
            keys.append(keys_of(identities))
        return b"".join(keys), places


class Handover:
    """One thread gives, one takes. Holds a few batches; when one is pushed out, it says so."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Landing, Sequence[Action]]] = deque(maxlen=_MOST_WAITING)
        self._changed = threading.Condition()
        self._skipped = False

    def give(self, runs: Iterable[MemberRun]) -> None:
        """Hand over what was committed; little is done with it in the thread that gives."""
        for run in runs:
            if run.landing:
                placed = zip(run.coordinates, run.facts, strict=True)
                actions = [(at, fact.value) for at, fact in placed if at[0] == GOVERNANCE_TOPIC]
                with self._changed:
                    self._skipped |= len(self._waiting) == _MOST_WAITING
                    self._waiting.append((run.landing, actions))
                    self._changed.notify()

    def wait(self, seconds: float) -> None:
        """Return as soon as there is a batch, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, seconds)

    def take(self) -> Handed | None:
        """The oldest batch; None when there is none, or when that was `skipped`."""
        with self._changed:
            if not self._waiting or self._skipped:
                return None
            landing, actions = self._waiting.popleft()
        handed = Handed.of(landing, actions)
        if handed is None:
            with self._changed:
                self._skipped = True
        return handed

    def skipped(self) -> bool:
        """Whether a batch, since this was last asked, was lost: the log has to be read to its end."""
        with self._changed:
            skipped, self._skipped = self._skipped, False
        return skipped
