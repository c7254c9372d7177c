"""Where the outputs of a batch landed whose topics the stage follows itself: it need not read them back."""

from collections.abc import Iterator, Mapping, Sequence

from sluice_kit.kafka.partitioner import hashes_of
from sluice_kit.stage.delivery import Callback, DeliveryReports, Place
from sluice_kit.stage.model import Output


class Landing:
    """The outputs of one transaction to followed topics, in the order in which they are written.

    `partitions` gives each topic's number of partitions. Every output has a key, which names its partition.
    """

    __slots__ = ("_reports", "outputs", "places")

    def __init__(self, outputs: Sequence[Output], partitions: Mapping[str, int]) -> None:
        self.outputs = outputs
        hashes = hashes_of([out.key or b"" for out in outputs])
        self.places: list[Place] = [
            (out.topic, hashed % partitions[out.topic]) for out, hashed in zip(outputs, hashes, strict=True)
        ]
        self._reports = DeliveryReports(self.places, frozenset())

    def targets(self) -> Iterator[tuple[int, Callback | None]]:
        """For each output the partition to write it to, and what is to be told of its delivery."""
        return zip((partition for _, partition in self.places), self._reports.callbacks(), strict=True)

    def ranges(self) -> dict[Place, range] | None:
        """The offsets of each place's outputs, which stand in the order of `outputs`, once committed.

        None when that is not known: something of another writer stands between them, or the outcome of the
        transaction was learnt from the log.
        """
        return self._reports.ranges()
