"""One producer a principal for all that a test module puts: a new one waits half a second for its id."""

from confluent_kafka import Producer

from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config


class LaneProducers:
    """Producers by principal, made when they are first asked for."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._made: dict[str, Producer] = {}

    def of(self, principal: str) -> Producer:
        """The one producer of `principal`."""
        if principal not in self._made:
            self._made[principal] = Producer(idempotent_producer_config(self._wiring, principal))
        return self._made[principal]
