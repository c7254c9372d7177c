"""Where the outputs of a batch landed whose topics the stage follows itself: it need not read them back.

The partitioner says which partition each output went to, and delivery reports of a few outputs where they
stand. A transaction's records follow one another in each partition, so the first and the last of a partition
give all the others, as long as nothing of somebody else stands between them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError

from sluice_kit.kafka.messages import KafkaMessage
from sluice_kit.kafka.partitioner import hashes_of
from sluice_kit.stage.model import Output, Place

_ASKED: Final = 32
"""So many outputs to a topic are asked about at each end of a batch: some of every partition are there."""

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
    """The outputs of one transaction to followed topics; `partitions` gives each topic's number of them.

    Every such output has a key, which names its partition.
    """

    def __init__(
        self, outputs: Sequence[Output], followed: frozenset[str], partitions: Mapping[str, int]
    ) -> None:
        self._outputs, self._partitions = outputs, partitions
        places = {topic: [at for at, out in enumerate(outputs) if out[0] == topic] for topic in followed}
        self._places = {topic: found for topic, found in places.items() if found}
        self._reported: dict[Place, list[int]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    def asked(self) -> list[int]:
        """Which outputs `delivered` is to be told of."""
        return [
            at for places in self._places.values() for at in sorted({*places[:_ASKED], *places[-_ASKED:]})
        ]

    def delivered(self, error: KafkaError | None, message: KafkaMessage) -> None:
        """The delivery report of an output."""
        if error is None:
            self._reported[message.topic(), message.partition()].append(message.offset())

    def landed(self) -> list[Landed] | None:
        """Where everything stands, once committed; None when that is not known.

        That is so when something of another writer stands between, or the outcome of the commit was learnt
        from the log.
        """
        found = [self._landed(topic, places) for topic, places in self._places.items()]
        known = [item for item in found if item is not None]
        return known if len(known) == len(found) else None

    def _landed(self, topic: str, places: Sequence[int]) -> Landed | None:
        outputs = [self._outputs[at] for at in places]
        partitions = hashes_of([out.key or b"" for out in outputs]) % self._partitions[topic]
        asked = np.ones(len(outputs), np.bool_)
        asked[_ASKED : max(_ASKED, len(outputs) - _ASKED)] = False
        offsets = np.empty(len(outputs), np.int64)
        for partition in np.unique(partitions).tolist():
            rows = np.flatnonzero(partitions == partition)
            reported = self._reported.get((topic, partition), [])
            told = asked[rows]
            if not reported or not told[0] or not told[-1]:
                return None
            offsets[rows] = reported[0] + np.arange(len(rows))
            if offsets[rows[told]].tolist() != reported:
                return None
        return Landed(topic, outputs, partitions, offsets)
