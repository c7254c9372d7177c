"""Who runs first where cores are few: what a checkout waits for, then the rest, then what nobody waits for.

Linux knows the niceness of a process and, where it shares cores among sessions first (autogroup), that of its
session. There the niceness of a process says nothing against processes of other sessions, so both are set.
Niceness only says who runs for how long, not who runs first: what wakes up goes to a core that is idle, or
waits behind what is there. A core with nothing but idle work (SCHED_IDLE) counts as idle.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Final, assert_never

_NICEST: Final = 19
"""Of work in the background: it takes what is left over, 1.5 % where all want the core. With 5 (a third)
decisions came later, and effects and audit records no sooner."""
_PROMPT: Final = -10


class Priority(StrEnum):
    """Of a process, and of all that it starts."""

    PROMPT = "prompt"
    """Runs as soon as it wants to, where its starter may say so (root, CAP_SYS_NICE); else ORDINARY."""
    ORDINARY = "ordinary"
    BACKGROUND = "background"
    """Takes what the others leave."""


def rank(pid: int, priority: Priority) -> None:
    """Give a priority to a process just started in a session of its own.

    A process has its starter's niceness, but a new session has none of its starter's.
    """
    match priority:
        case Priority.PROMPT:
            _set(pid, _PROMPT, _PROMPT)
        case Priority.ORDINARY:
            pass
        case Priority.BACKGROUND:
            _set(pid, _NICEST, _NICEST)
            if sys.platform == "linux":
                with suppress(OSError):
                    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        case _:
            assert_never(priority)


@contextmanager
def precedence() -> Iterator[None]:
    """Let this process run as soon as it wants to, where that is allowed: it measures the others.

    So does its session, for as long as the first of its processes that asked for it: one that finds it so
    leaves it so, or the last to end would bring back for good what it found.
    """
    own = os.getpid()
    process, session = _process(own), _session(own)
    first = session > _PROMPT
    _set(own, _PROMPT, _PROMPT if first else None)
    try:
        yield
    finally:
        _set(own, process, session if first else None)


def _process(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def _session(pid: int) -> int:
    try:
        *_, niceness = _session_file(pid).read_text(encoding="ascii").split()
        return int(niceness)
    except (OSError, ValueError):  # this system does not share cores among sessions
        return 0


def _set(pid: int, process: int, session: int | None) -> None:
    """Threads and children that come later inherit it. None, and what the system forbids: left as it is."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, process)
    if session is not None:
        with suppress(OSError):
            _session_file(pid).write_text(str(session), encoding="ascii")


def _session_file(pid: int) -> Path:
    return Path(f"/proc/{pid}/autogroup")
