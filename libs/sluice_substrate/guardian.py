"""Ends a bound stack when the process that started it ends, even by SIGKILL."""

import os
import select
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil

from sluice_substrate.folders import Home
from sluice_substrate.processes import ProcessRecord, find_marked, stop

_POLITELY = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
_guarded: set[Path] = set()


def watch_this_process(home: Home, *, remove: bool = False) -> None:
    """Start one guardian for `home` (once a process): it waits for our end, then takes the stack down.

    With `remove` it deletes the home then, if we did not.
    """
    if home.root in _guarded:
        return
    _guarded.add(home.root)
    own = psutil.Process()
    with home.log("guardian").open("ab") as log:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sluice_substrate.guardian",
                str(home.root),
                str(own.pid),
                str(own.create_time()),
                "remove" if remove else "keep",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    child.returncode = 0  # it outlives us on purpose: no warning about a running child


def _wait_for_end(pid: int, started: float) -> None:
    """Block without polling until that very process has ended (a zombie counts as ended)."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    watched = ProcessRecord(pid, started, "")
    try:
        if abs(psutil.Process(pid).create_time() - watched.started) < 2.0:
            select.select([handle], [], [])
    except psutil.NoSuchProcess:
        return
    finally:
        os.close(handle)


def _stop_services(home: Home) -> None:
    """End whatever was started against this home's wiring: its file is the mark that services carry."""
    services = find_marked(str(home.wiring))
    with ThreadPoolExecutor(max(1, len(services))) as pool:
        list(pool.map(partial(stop, signals=_POLITELY), services))


def main() -> None:
    """`python -m sluice_substrate.guardian HOME PID STARTED keep|remove`."""
    home, pid, started = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    _wait_for_end(pid, started)
    if home.exists():
        from sluice_substrate.stack import LocalStack  # noqa: PLC0415  # waiting needs no Kafka client in memory

        _stop_services(Home(home))
        LocalStack(home).down()
    if sys.argv[4] == "remove":
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
