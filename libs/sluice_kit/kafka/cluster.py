"""Which broker leads which partition, and connections to them."""

from typing import Any, Final

from aiokafka.errors import for_code
from aiokafka.protocol.metadata import MetadataRequest_v5

from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.kafka.wire import Connection, ConnectionLost
from sluice_kit.places import Place

Address = tuple[str, int]

ANSWER_SECONDS: Final = 30.0
"""How long a broker may take to answer."""
UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER = 3, 5, 6
MOVED: Final = frozenset({UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER})
"""With these a broker says that it did nothing: a topic is new, or its leader another one."""
_FENCED: Final = frozenset({47, 90})
"""INVALID_PRODUCER_EPOCH, PRODUCER_FENCED."""
COORDINATOR_LOADING, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS = 14, 15, 16, 51
NOT_READY: Final = frozenset(
    {COORDINATOR_LOADING, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS}
)
"""With these a coordinator says that it is to be asked again, or another one."""


class RequestFailed(Exception):
    """A broker answered with an error; `fenced`: another producer has this transactional id."""

    def __init__(self, what: str, code: int) -> None:
        problem = for_code(code)
        super().__init__(f"{what}: {problem.__name__}")
        self.fenced = code in _FENCED
        self.retriable = problem.retriable or code in NOT_READY


class Cluster:
    """Used by one thread at a time. Methods raise ConnectionLost, AccessRefused or RequestFailed."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._leaders: dict[Place, Address] = {}
        self._connections: dict[tuple[str, Address], Connection] = {}

    def leader(self, place: Place) -> Address:
        """The broker that leads a partition; the topic's partitions are asked for once."""
        if place not in self._leaders:
            self._ask_leaders(place[0])
            if place not in self._leaders:
                raise RequestFailed(f"{place[0]}/{place[1]}", LEADER_NOT_AVAILABLE)
        return self._leaders[place]

    def knows(self, place: Place) -> bool:
        """Whether `leader` needs not ask."""
        return place in self._leaders

    def moved(self, place: Place) -> None:
        """The leader of a partition is to be asked for again."""
        self._leaders.pop(place, None)

    def any_connection(self) -> Connection:
        """A connection to whichever of the bootstrap servers answers."""
        failed = ConnectionLost("no bootstrap server is configured")
        for server in self._config["bootstrap.servers"].split(","):
            host, _, port = server.strip().rpartition(":")
            try:
                return self.connection("bootstrap", (host.strip("[]"), int(port)))
            except ConnectionLost as error:
                failed = error
        raise failed

    def connection(self, purpose: str, address: Address) -> Connection:
        """A connection of its own for each purpose: answers come in the order of requests."""
        found = self._connections.get((purpose, address))
        if found is None:
            found = Connection(*address, self._config, seconds=ANSWER_SECONDS)
            self._connections[purpose, address] = found
        return found

    def drop_closed(self) -> None:
        """Forget connections that brokers have closed."""
        for key, connection in list(self._connections.items()):
            if not connection.is_open():
                connection.close()
                del self._connections[key]

    def close(self) -> None:
        """Hang up, and look for the leaders anew when somebody asks again."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._leaders.clear()

    def _ask_leaders(self, topic: str) -> None:
        found: Any = self.any_connection().ask(MetadataRequest_v5([topic], False))
        brokers = {node: (host, port) for node, host, port, _ in found.brokers}
        for code, _, _, partitions in found.topics:
            if code:
                raise RequestFailed(topic, code)
            for _, partition, leader, *_ in partitions:
                if leader in brokers:
                    self._leaders[topic, partition] = brokers[leader]
