"""Who gives way where cores are few: work that nobody waits for.

Linux knows the niceness of a process and, where it shares cores among sessions first (autogroup), that of its
session. There the niceness of a process says nothing against processes of other sessions, so both are set.
Niceness only says who runs for how long, not who runs first: what wakes up goes to a core that is idle, or
waits behind what is there. A core with nothing but idle work (SCHED_IDLE) counts as idle.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_NICEST: Final = 19
"""Of work in the background: it takes what is left over, 1.5 % where all want the core. With 5 (a third)
decisions came later, and effects and audit records no sooner."""
_PROMPT: Final = -10


def give_way(pid: int) -> None:
    """Let a process just started in a session of its own, and all that it starts, leave cores to others.

    A process has its starter's niceness, but a new session has none of its starter's.
    """
    _set(pid, _NICEST, _NICEST)
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))


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
