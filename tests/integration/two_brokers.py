"""A cluster of two real brokers: the first is the controller as well, the second can be killed."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.testing.fresh_topics import await_leaders
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack, broker, broker_config, downloads, ports, processes
from sluice_substrate.broker_config import BROKER, BrokerPorts
from sluice_substrate.folders import Home
from sluice_substrate.processes import ProcessRecord
from sluice_substrate.secret_files import ensure_secret, write_private

FIRST, SECOND = 1, 2
_REPLICATED: Final = "transaction.state.log.replication.factor=2\noffsets.topic.replication.factor=2\n"


class TwoBrokers:
    """Both run; `wiring` names the first one only, as what clients ask who leads."""

    def __init__(self, stack: LocalStack, controller: int, folder: Path) -> None:
        self.wiring: Wiring = load_wiring(stack.wiring_file)
        self.admin = AdminClient(client_config(self.wiring, "admin"))
        self._jars = downloads.fetch("kafka", lambda _done, _total: None)
        self._home = Home(folder)
        self._home.create()
        self._at = BrokerPorts(ports.choose([None])[0], controller)
        password = ensure_secret(Home(stack.home).secrets, f"kafka_{BROKER}")
        self._properties = self._home.kafka / "server.properties"
        write_private(self._properties, self._settings(password))
        (self._home.kafka / "log4j2.yaml").write_text(broker_config.LOG4J, encoding="utf-8")
        self._format()
        self._process: ProcessRecord | None = None

    def _settings(self, password: str) -> str:
        """The first one's, but that it is no controller and has a number, a port and a folder of its own."""
        text = broker_config.server_properties(self._home.kafka / "data", self._at, password)
        changed = {
            "process.roles": "broker",
            "node.id": SECOND,
            "listeners": f"CLIENT://{ports.LOOPBACK}:{self._at.client}",
        }
        return text + "".join(f"{key}={value}\n" for key, value in changed.items())

    def _format(self) -> None:
        arguments = ["format", "-t", broker._CLUSTER_ID, "-c", str(self._properties)]
        done = processes.run_tool(
            broker._command(self._home, self._jars, "kafka.tools.StorageTool", *arguments),
            seconds=60,
            env=processes.clean_environment(),
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start_second(self) -> None:
        """Start it and wait until the cluster knows it."""
        log = self._home.log("kafka")
        begin = processes.log_size(log)
        self._process = processes.start(
            broker._command(self._home, self._jars, "kafka.Kafka", str(self._properties)),
            lambda: ports.answers(self._at.client) and b"Kafka Server started" in log.read_bytes()[begin:],
            name="the second broker",
            seconds=60,
            mark=broker.mark(self._home),
            log=log,
            environment=processes.clean_environment(),
        )
        until(lambda: SECOND in self.admin.list_topics(timeout=10).brokers, "the second broker")

    def kill_second(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        processes.stop(self._process, [(signal.SIGKILL, 10)])

    def topic(self, name: str, partitions: int) -> None:
        """Create a topic on both brokers; every other partition prefers the second one."""
        both = [[FIRST, SECOND], [SECOND, FIRST]]
        wanted = NewTopic(
            name, num_partitions=partitions, replica_assignment=[both[n % 2] for n in range(partitions)]
        )
        self.admin.create_topics([wanted])[name].result(30)
        await_leaders(self.admin, name, partitions)

    def leaders(self, topic: str) -> list[int]:
        """Who leads each partition."""
        found = self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        return [found[number].leader for number in sorted(found)]

    def in_sync(self, topic: str) -> bool:
        """Whether every partition has both replicas."""
        found = self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        return all(len(partition.isrs) == 2 for partition in found.values())


@contextmanager
def two_brokers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoBrokers]:
    """Both brokers, for as long as the block lasts; what the cluster itself keeps is on both."""
    plain = broker_config.server_properties
    controllers: list[int] = []

    def replicated(data: Path, at: BrokerPorts, password: str, *, listen_on: str = ports.LOOPBACK) -> str:
        controllers.append(at.controller)
        return plain(data, at, password, listen_on=listen_on) + _REPLICATED

    stack = LocalStack(folder / "first", bound=True)
    made = None
    try:
        monkeypatch.setattr(broker_config, "server_properties", replicated)
        stack.up(("kafka",))
        made = TwoBrokers(stack, controllers[-1], folder / "second")
        made.start_second()
        yield made
    finally:
        if made is not None and made._process is not None:
            made.kill_second()
        stack.down()
