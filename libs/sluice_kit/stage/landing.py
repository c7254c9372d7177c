"""Where the outputs of a batch landed whose topics the stage follows itself: it need not read them back."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sluice_kit.kafka.record_batches import Written
from sluice_kit.places import Place
from sluice_kit.stage.model import Output

Numbers = npt.NDArray[np.int64]


class Landed(NamedTuple):
    """Outputs to one topic, in the order in which they were written, with partition and offset of each."""

    topic: str
    outputs: Sequence[Output]
    partitions: Numbers
    offsets: Numbers

    def ranges(self) -> dict[Place, range]:
        """The offsets of each partition."""
        found = {}
        for partition in np.unique(self.partitions).tolist():
            offsets = self.offsets[self.partitions == partition]
            found[self.topic, partition] = range(int(offsets[0]), int(offsets[-1]) + 1)
        return found


class Landing:
    """Outputs to followed topics that are about to be appended to `written`, one to each of `places`."""

    def __init__(
        self,
        outputs: Sequence[Output],
        places: Sequence[Place],
        followed: frozenset[str],
        written: Written,
    ) -> None:
        self._written = written
        chosen = {topic: [at for at, out in enumerate(outputs) if out[0] == topic] for topic in followed}
        self._rows = {topic: rows for topic, rows in chosen.items() if rows}
        self._outputs, self._places = outputs, places
        asked = {places[at] for rows in self._rows.values() for at in rows}
        self._before: Mapping[Place, int] = {place: written.count(place) for place in asked}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def landed(self) -> list[Landed] | None:
        """Where everything stands, once committed.

        None when that is not known (the outcome of the commit was learnt from the log), or when something
        of another writer stands between.
        """
        found = [self._landed(topic, rows) for topic, rows in self._rows.items()]
        known = [item for item in found if item is not None]
        return known if len(known) == len(found) else None

    def _landed(self, topic: str, rows: Sequence[int]) -> Landed | None:
        outputs = [self._outputs[at] for at in rows]
        partitions = np.array([self._places[at][1] for at in rows], np.int64)
        offsets = np.empty(len(outputs), np.int64)
        for partition in np.unique(partitions).tolist():
            own = partitions == partition
            told = self._written.offsets((topic, partition))
            if told is None:
                return None
            before = self._before[topic, partition]
            offsets[own] = told[before : before + int(own.sum())]
            if np.any(np.diff(offsets[own]) != 1):
                return None
        return Landed(topic, outputs, partitions, offsets)
