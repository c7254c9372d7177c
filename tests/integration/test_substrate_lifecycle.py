"""The local stack through its life: up, down, killed, left over, half made, ports lost."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from sluice_kit.config import load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack, NotRunning, StackStatus, guardian
from sluice_substrate.folders import Home
from sluice_substrate.processes import find_marked

pytestmark = [pytest.mark.integration, pytest.mark.fault]


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-substrate-"))
    (folder / "logs").mkdir()
    guardian.watch_this_process(Home(folder.resolve()), remove=True)  # should this run be killed
    yield folder
    LocalStack(folder).down()
    shutil.rmtree(folder, ignore_errors=True)  # a guardian may be writing its last words


def pids(status: StackStatus) -> dict[str, int | None]:
    return {component.name: component.pid for component in status.components}


def create_topic(stack: LocalStack) -> None:
    admin = stack.admin()
    admin.create_topics([NewTopic("kept", 1)])["kept"].result()


def write(stack: LocalStack, value: bytes) -> None:
    wiring = load_wiring(stack.wiring_file)
    producer = Producer(client_config(wiring, "admin") | {"acks": "all", "log_level": 0})
    errors: list[object] = []
    producer.produce("kept", value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(20) == 0
    assert errors == [None]


def read_all(stack: LocalStack) -> list[bytes]:
    wiring = load_wiring(stack.wiring_file)
    consumer = Consumer(client_config(wiring, "admin") | {"group.id": "g", "log_level": 0})
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition("kept", 0), timeout=20)
        consumer.assign([TopicPartition("kept", 0, 0)])
        messages = consumer.consume(high, timeout=20)
        return [message.value() for message in messages]
    finally:
        consumer.close()


def select(stack: LocalStack, statement: str) -> object:
    wiring = load_wiring(stack.wiring_file)
    assert wiring.postgres is not None
    password = wiring.secret_source.get(str(wiring.postgres.password_secret))
    dsn = wiring.postgres.dsn

    async def run() -> object:
        connection = await asyncpg.connect(dsn, password=password)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_up_down_up_keeps_data_ports_and_secrets(home: Path) -> None:
    stack = LocalStack(home)
    first = stack.up()
    assert first.running
    assert set(first.started) == {"kafka", "postgres", "registry"}
    assert {path.stat().st_mode & 0o777 for path in (home / "secrets").iterdir()} == {0o600}
    create_topic(stack)
    write(stack, b"one")
    select(stack, "CREATE TABLE kept AS SELECT 1 AS n")

    again = stack.up()
    assert again.started == ()
    assert pids(again) == pids(first)

    down = stack.down()
    assert not any(component.running for component in down.components)
    for component in first.components:
        assert component.pid is not None
        assert not psutil.pid_exists(component.pid)
    with pytest.raises(NotRunning):
        stack.admin()

    second = stack.up()
    assert [component.port for component in second.components] == [c.port for c in first.components]
    assert read_all(stack) == [b"one"]
    assert select(stack, "SELECT n FROM kept") == 1


def test_a_killed_broker_and_database_come_back_with_their_data(home: Path) -> None:
    stack = LocalStack(home)
    stack.up(("kafka", "postgres"))
    create_topic(stack)
    write(stack, b"before the kill")
    select(stack, "CREATE TABLE kept AS SELECT 7 AS n")
    server = stack.status().component("postgres").pid
    assert server is not None

    stack.kill_broker()
    os.kill(server, signal.SIGKILL)
    until(lambda: not any(c.running for c in stack.status().components), "both to be seen as dead", 10)
    assert set(stack.up(("kafka", "postgres")).started) == {"kafka", "postgres"}
    write(stack, b"after the kill")
    assert read_all(stack) == [b"before the kill", b"after the kill"]
    assert select(stack, "SELECT n FROM kept") == 7

    before = stack.status().component("kafka")
    after = stack.restart_broker().component("kafka")
    assert after.port == before.port
    assert after.pid != before.pid
    assert len(read_all(stack)) == 2

    stack.stop_postgres()
    with pytest.raises(OSError, match=r"Connect|refused"):
        select(stack, "SELECT 1")
    stack.start_postgres()
    assert select(stack, "SELECT n FROM kept") == 7


_PARENT = """
import sys, time
from pathlib import Path
from sluice_substrate import LocalStack
LocalStack(Path(sys.argv[1]), bound=sys.argv[2] == "bound").up(("kafka", "postgres"))
print("up", flush=True)
time.sleep(600)
"""


def start_parent(home: Path, how: str, **environment: str) -> subprocess.Popen[str]:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(home), how],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    return parent


def kill(parent: subprocess.Popen[str]) -> None:
    with parent:
        parent.kill()


def test_a_stack_outlives_its_killed_starter_and_is_taken_over(home: Path, tmp_path: Path) -> None:
    # and needs no Java, no Maven: of the machine's programs only the one that leaves root
    if (setpriv := shutil.which("setpriv")) is not None:
        (tmp_path / "setpriv").symlink_to(setpriv)
    parent = start_parent(home, "free", PATH=str(tmp_path), JAVA_HOME="")
    started = pids(LocalStack(home).status())
    kill(parent)
    adopted = LocalStack(home).up(("kafka", "postgres"))
    assert adopted.started == ()
    assert pids(adopted) == started
    assert select(LocalStack(home), "SELECT 1") == 1


def test_a_bound_stack_ends_with_its_killed_starter(home: Path) -> None:
    parent = start_parent(home, "bound")
    started = [pid for pid in pids(LocalStack(home).status()).values() if pid is not None]
    assert len(started) == 2
    kill(parent)
    until(lambda: not any(map(psutil.pid_exists, started)), "the guardian to stop everything")


def test_leftovers_are_recovered(home: Path) -> None:
    stack = LocalStack(home)
    # a starter killed while formatting: folders, no markers
    for part in (home / "kafka" / "data", home / "postgres" / "data"):
        part.mkdir(parents=True)
        (part / "half").write_text("written by a run that was killed")
    stack.up(("kafka", "postgres"))
    first = stack.status()
    stack.down()

    # a record of pids that now are somebody else's, a stale lock and pid file, and both ports taken
    record = (home / "stack.json").read_text()
    (home / "stack.json").write_text(record.replace('"process": null', _process_of(os.getpid())))
    (home / "kafka" / "data" / ".lock").touch()
    (home / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n/elsewhere\n0\n1\n\n\n\n")
    taken = [socket.create_server(("127.0.0.1", component.port or 0)) for component in first.components]
    try:
        second = stack.up(("kafka", "postgres"))
    finally:
        for listener in taken:
            listener.close()
    assert second.running
    assert {c.port for c in second.components}.isdisjoint({c.port for c in first.components})
    assert load_wiring(stack.wiring_file).kafka.bootstrap_servers.endswith(
        f":{second.component('kafka').port}"
    )
    assert select(stack, "SELECT 1") == 1
    assert psutil.pid_exists(os.getpid())


def _process_of(pid: int) -> str:
    return f'"process": {{"pid": {pid}, "started": 1.0, "mark": "-Dsluice.kafka=/nowhere"}}'


def test_down_finds_processes_that_no_record_names(home: Path) -> None:
    stack = LocalStack(home)
    stack.up(("postgres",))
    mark = str(home.resolve() / "postgres" / "data")
    assert len(find_marked(mark)) == 1
    (home / "stack.json").unlink()
    stack.down()
    assert find_marked(mark) == []
    assert stack.up(("postgres",)).running
