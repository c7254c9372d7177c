"""Profile `containers`: the same stack in containers, where an engine answers (testcontainers)."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluice_contracts.topics import PRINCIPALS
from sluice_substrate import broker_config, ports, postgres, record, wiring_file
from sluice_substrate.broker_config import ADMIN, BROKER, BrokerPorts
from sluice_substrate.errors import StartFailed
from sluice_substrate.folders import Home
from sluice_substrate.record import ComponentRecord, StackRecord
from sluice_substrate.secret_files import ensure_secret

KAFKA_IMAGE = "apache/kafka:4.2.1"
POSTGRES_IMAGE = "postgres:18"
REGISTRY_IMAGE = "apicurio/apicurio-registry-mem:2.6.13.Final"
_SOCKET = Path("/var/run/docker.sock")
_CLUSTER_ID = "c2x1aWNlLWxvY2FsLWtyYQ"


def missing_engine() -> str | None:
    """Why no container can be started here, None when an engine answers."""
    try:
        import docker  # type: ignore[import-untyped]  # noqa: PLC0415  # only this profile needs it
    except ImportError:
        return "the package testcontainers is not installed (it is in the dev extra)"
    # asked first: the client leaks a socket when there is nothing to connect to
    if "DOCKER_HOST" not in os.environ and not _SOCKET.exists():
        return f"no container engine answers: {_SOCKET} is missing and DOCKER_HOST is not set"
    try:
        client = docker.from_env(timeout=5)
    except Exception as error:  # noqa: BLE001  # any failure means the same: no engine
        return f"no container engine answers: {error}"
    client.close()
    return None


class ContainerStack:
    """Broker, database and registry in containers; same secrets, users and wiring file as LocalStack."""

    def __init__(self, home: Path, *, principals: Iterable[str] = ()) -> None:
        self._home = Home(home.expanduser().resolve())
        self._principals = {*PRINCIPALS, "reader", *principals}
        self._running: list[Any] = []

    @property
    def wiring_file(self) -> Path:
        """Wiring file for services; there after `up`."""
        return self._home.wiring

    def up(self) -> None:
        """Start all three. Raises StartFailed with the reason where no engine answers."""
        if (reason := missing_engine()) is not None:
            raise StartFailed(reason)
        self._home.create()
        client, controller, database, registry = ports.choose([None] * 4)
        try:
            self._kafka(BrokerPorts(client, controller))
            self._postgres(database)
            self._registry(registry)
        except BaseException:
            self.down()
            raise
        chosen = {"kafka": (client, controller), "postgres": (database,), "registry": (registry,)}
        state = StackRecord({name: ComponentRecord(taken) for name, taken in chosen.items()})
        record.save(self._home.record, state)
        wiring_file.write_wiring(self._home, state)

    def down(self) -> None:
        """Stop and remove the containers, and with them their data."""
        while self._running:
            self._running.pop().stop()

    def _start(self, container: Any, ready: str, seconds: int = 120) -> None:
        from testcontainers.core.waiting_utils import wait_for_logs  # noqa: PLC0415

        self._running.append(container.start())
        wait_for_logs(container, ready, timeout=seconds)

    def _kafka(self, at: BrokerPorts) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        secrets = self._home.secrets
        password = ensure_secret(secrets, f"kafka_{BROKER}")
        properties = broker_config.server_properties(
            Path("/var/lib/kafka/data"),
            at,
            password,
            listen_on="0.0.0.0",  # noqa: S104  # its own network
        )
        users = " ".join(
            f"--add-scram 'SCRAM-SHA-256=[name={name},password={ensure_secret(secrets, f'kafka_{name}')}]'"
            for name in sorted({*self._principals, ADMIN, BROKER})
        )
        script = (
            f"printf %s '{properties}' > /tmp/server.properties && "
            f"/opt/kafka/bin/kafka-storage.sh format -t {_CLUSTER_ID} -c /tmp/server.properties {users} && "
            "exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties"
        )
        container = DockerContainer(KAFKA_IMAGE).with_bind_ports(at.client, at.client)
        self._start(container.with_command(["bash", "-c", script]), "Kafka Server started")

    def _postgres(self, port: int) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        container = (
            DockerContainer(POSTGRES_IMAGE)
            .with_bind_ports(5432, port)
            .with_env("POSTGRES_USER", postgres.USER)
            .with_env("POSTGRES_DB", postgres.DATABASE)
            .with_env("POSTGRES_PASSWORD", ensure_secret(self._home.secrets, postgres.SECRET))
        )
        self._start(container, "database system is ready to accept connections")

    def _registry(self, port: int) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        self._start(DockerContainer(REGISTRY_IMAGE).with_bind_ports(8080, port), "Listening on")
