"""Child processes that may outlive this one: started detached, recognised by a mark, stopped politely."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from sluice_substrate.errors import PortLost, StartFailed
from sluice_substrate.priority import Priority, rank

_PORT_TAKEN = ("Address already in use", "BindException", "could not bind", "seems to be in use by another")
_NO_SPACE = ("No space left on device",)


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """Identity of a process: a recycled pid has another start time, or lacks the mark."""

    pid: int
    started: float
    mark: str

    def process(self) -> psutil.Process | None:
        """The live process, None when it has gone (or its pid now is somebody else's)."""
        try:
            candidate = psutil.Process(self.pid)
            if abs(candidate.create_time() - self.started) >= 2.0 or _collected(candidate):
                return None
            arguments = candidate.cmdline()  # empty for a moment while a new program is being loaded
        except psutil.ZombieProcess:
            return None if _collected(candidate) else candidate
        except psutil.Error:
            return None
        return candidate if self.mark in (arguments or [self.mark]) else None


def spawn(
    command: Sequence[str],
    *,
    mark: str,
    log: Path,
    environment: Mapping[str, str],
    priority: Priority = Priority.ORDINARY,
    **options: object,
) -> ProcessRecord:
    """Start `command` in a session of its own (Ctrl-C of the terminal does not reach it), output to `log`."""
    assert mark in command, "the mark is how the process is recognised later"
    with log.open("ab") as output:
        child = subprocess.Popen(  # type: ignore[call-overload]  # options are user/group/extra_groups/cwd
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
            **options,
        )
    rank(child.pid, priority)
    # The record lives on after this object: without this, its destructor would warn of a running child.
    child.returncode = 0
    return ProcessRecord(child.pid, psutil.Process(child.pid).create_time(), mark)


def run_tool(command: Sequence[str], *, seconds: float, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a short-lived program to its end and collect what it says. Raises StartFailed after `seconds`."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, **options
        )
    except subprocess.TimeoutExpired as error:
        raise StartFailed(
            f"{Path(command[0]).name} took longer than {seconds:.0f} s: is the machine overloaded?"
        ) from error


def find_marked(mark: str) -> list[ProcessRecord]:
    """Processes that carry `mark` as an argument: leftovers of a run whose record was lost."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "create_time"]):
        arguments = process.info["cmdline"]
        if arguments and mark in arguments:
            found.append(ProcessRecord(process.info["pid"], process.info["create_time"], mark))
    return found


def stop(record: ProcessRecord, signals: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send each signal in turn and wait its seconds; True once the process is gone."""
    for number, seconds in signals:
        process = record.process()
        if process is None:
            return True
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if record.process() is None:
                return True
            time.sleep(0.02)
    return record.process() is None


def wait_ready(
    record: ProcessRecord, ready: Callable[[], bool], *, name: str, log: Path, log_start: int, seconds: float
) -> None:
    """Poll `ready` until it is true. Raises StartFailed (PortLost) when the process dies or time is up."""
    deadline = time.monotonic() + seconds
    while True:
        if record.process() is None:
            raise failure(f"{name} died while starting", log, log_start)
        if ready():
            return
        if time.monotonic() > deadline:
            raise failure(f"{name} did not answer within {seconds:.0f} s", log, log_start)
        time.sleep(0.03)


def start(
    command: Sequence[str],
    ready: Callable[[], bool],
    *,
    name: str,
    seconds: float,
    mark: str,
    log: Path,
    environment: Mapping[str, str],
    end: Sequence[tuple[signal.Signals, float]] = ((signal.SIGKILL, 5),),
    **options: Any,
) -> ProcessRecord:
    """`spawn`, then wait until it is ready; one that does not get there is ended by `end`.

    Raises StartFailed (PortLost).
    """
    log_start = log_size(log)
    record = spawn(command, mark=mark, log=log, environment=environment, **options)
    try:
        wait_ready(record, ready, name=name, log=log, log_start=log_start, seconds=seconds)
    except StartFailed:
        stop(record, end)
        raise
    return record


def failure(what: str, log: Path, log_start: int) -> StartFailed:
    """An error that names the log and quotes its last lines; PortLost when a port was the reason."""
    with log.open("rb") as stream:
        stream.seek(log_start)
        text = stream.read().decode(errors="replace")
    lines = "\n".join(f"    {line}" for line in text.splitlines()[-12:]) or "    (it printed nothing)"
    hint = ""
    if any(phrase in text for phrase in _NO_SPACE):
        hint = " The disk is full: free some space, or choose another home folder."
    kind = PortLost if any(phrase in text for phrase in _PORT_TAKEN) else StartFailed
    return kind(f"{what}.{hint} Full log: {log}. Its last lines:\n{lines}")


def log_size(log: Path) -> int:
    """Bytes in the log now: where the output of the next start begins."""
    return log.stat().st_size if log.exists() else 0


def clean_environment(**extra: str) -> dict[str, str]:
    """The caller's environment without what would change a JVM or PostgreSQL behind our back."""
    dropped = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
    kept = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith(("PG", "KAFKA_"))}
    return kept | extra


def is_program(pid: int, name: str) -> bool:
    """Whether a process of that id runs and is called `name`."""
    try:
        process = psutil.Process(pid)
        return not _collected(process) and process.name() == name
    except (psutil.Error, ValueError):
        return False


def _collected(process: psutil.Process) -> bool:
    """Whether it has ended; a child of ours is collected, so that its pid does not look alive.

    A killed JVM shows as a zombie while its threads still hold ports and files: that is not the end.
    """
    if process.status() != psutil.STATUS_ZOMBIE:
        return False
    try:
        return os.waitpid(process.pid, os.WNOHANG)[0] == process.pid
    except ChildProcessError:  # somebody else's child, or collected by another thread
        return True
