"""Apache Kafka on the bundled JRE: format once, start, stop, kill."""

import json
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from sluice_substrate import broker_config, ports, processes
from sluice_substrate.broker_config import ADMIN, BROKER, BrokerPorts
from sluice_substrate.errors import StartFailed
from sluice_substrate.folders import Home
from sluice_substrate.java import java
from sluice_substrate.processes import ProcessRecord
from sluice_substrate.secret_files import ensure_secret, write_private

NAME = "kafka"
_CLUSTER_ID = "c2x1aWNlLWxvY2FsLWtyYQ"  # 16 bytes in URL-safe base64; a home is a cluster of its own
_START_SECONDS = 60
_FORMAT_SECONDS = 60


def mark(home: Home) -> str:
    """Argument by which this home's broker is recognised among the machine's processes."""
    return f"-Dsluice.kafka={home.root}"


def start(home: Home, jars: list[Path], at: BrokerPorts, principals: Iterable[str]) -> ProcessRecord:
    """Start the broker and wait until it accepts connections. Raises StartFailed (PortLost)."""
    data = home.kafka / "data"
    properties = home.kafka / "server.properties"
    password = ensure_secret(home.secrets, f"kafka_{BROKER}")
    write_private(properties, broker_config.server_properties(data, at, password))
    (home.kafka / "log4j2.yaml").write_text(broker_config.LOG4J, encoding="utf-8")
    _format_once(home, jars, principals)
    # The broker removes its own lock file lazily; the lock itself is the kernel's and died with its holder.
    (data / ".lock").unlink(missing_ok=True)
    log = home.log(NAME)
    log_start = processes.log_size(log)
    command = _command(home, jars, "kafka.Kafka", str(properties))
    return processes.start(
        command,
        lambda: ports.answers(at.client) and b"Kafka Server started" in _tail(log, log_start),
        name="the Kafka broker",
        seconds=_START_SECONDS,
        mark=mark(home),
        log=log,
        environment=processes.clean_environment(),
    )


def stop(record: ProcessRecord) -> bool:
    """Controlled shutdown; killed after 20 s."""
    return processes.stop(record, [(signal.SIGTERM, 20), (signal.SIGKILL, 5)])


def _command(home: Home, jars: list[Path], main_class: str, *arguments: str) -> list[str]:
    options = [
        # On two cores that services share, G1 stops a broker for 100 to 200 ms several times a minute
        # (docs/benchmarks.md); one thread on a young generation of fixed size stops it for about 30.
        "-XX:+UseSerialGC",
        f"-Xmn{broker_config.YOUNG_HEAP_MIB}m",
        "-XX:MaxDirectMemorySize=256m",
        f"-Dlog4j2.configurationFile={home.kafka / 'log4j2.yaml'}",
        f"-Dkafka.logs.dir={home.logs}",
        "-cp",
        ":".join(str(jar) for jar in jars),
        main_class,
        *arguments,
    ]
    return java(
        mark=mark(home),
        arguments=options,
        heap_mib=broker_config.HEAP_MIB,
        start_heap_mib=broker_config.START_HEAP_MIB,
    )


def _format_once(home: Home, jars: list[Path], principals: Iterable[str]) -> None:
    """Give the log folder its cluster id and first SCRAM users; the marker is written last.

    A folder without the marker never held a record (the broker starts only after it): it is cleared.
    """
    marker = home.kafka / "formatted.json"
    data = home.kafka / "data"
    if marker.exists() and (data / "meta.properties").exists():
        return
    marker.unlink(missing_ok=True)
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    users = sorted({*principals, ADMIN, BROKER})
    passwords = {user: ensure_secret(home.secrets, f"kafka_{user}") for user in users}
    arguments = [
        "kafka.tools.StorageTool",
        "format",
        "-t",
        _CLUSTER_ID,
        "-c",
        str(home.kafka / "server.properties"),
    ]
    for user, password in passwords.items():
        arguments += ["--add-scram", f"SCRAM-SHA-256=[name={user},password={password}]"]
    # Arguments are visible to other users of the machine: they go through a file that only we can read.
    argument_file = home.kafka / "format.args"
    write_private(argument_file, "\n".join(f'"{argument}"' for argument in arguments) + "\n")
    done = processes.run_tool(
        _command(home, jars, f"@{argument_file}"),
        seconds=_FORMAT_SECONDS,
        env=processes.clean_environment(),
    )
    argument_file.unlink()
    if done.returncode != 0:
        raise StartFailed(f"formatting {data} failed:\n{(done.stdout + done.stderr)[-2000:]}")
    marker.write_text(json.dumps({"users": users}), encoding="utf-8")


def _tail(log: Path, start_at: int) -> bytes:
    with log.open("rb") as stream:
        stream.seek(start_at)
        return stream.read()
