"""Who gives way where cores are few."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice_substrate.priority import Priority
from sluice_substrate.processes import clean_environment, spawn, stop

MARK = "sluice-test-priority"


@contextmanager
def waiting(log: Path, priority: Priority) -> Iterator[int]:
    """The pid of a process that waits."""
    command = [sys.executable, "-c", "import signal; signal.pause()", MARK]
    record = spawn(command, mark=MARK, log=log, environment=clean_environment(), priority=priority)
    try:
        yield record.pid
    finally:
        stop(record, [(signal.SIGKILL, 5.0)])


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def may_take_precedence() -> bool:
    """Whether a process may raise itself: root, or one with CAP_SYS_NICE."""
    (answer,) = in_a_session_of_its_own(
        "try: os.setpriority(os.PRIO_PROCESS, 0, -10)",
        "except OSError: print(False)",
        "else: print(True)",
    )
    return answer == "True"


def session_niceness(pid: int) -> int | None:
    """What Linux holds against other sessions, None where it does not share cores among sessions.

    The file is there and empty for a process of the first session.
    """
    path = Path(f"/proc/{pid}/autogroup")
    fields = path.read_text().split() if path.exists() else []
    return int(fields[-1]) if fields else None


def test_a_background_process_gives_way_to_an_ordinary_one(tmp_path: Path) -> None:
    with (
        waiting(tmp_path / "a", Priority.BACKGROUND) as yielding,
        waiting(tmp_path / "b", Priority.ORDINARY) as other,
    ):
        assert niceness(yielding) > niceness(other)
        assert os.sched_getscheduler(yielding) == os.SCHED_IDLE != os.sched_getscheduler(other)
        session = session_niceness(yielding)
        if session is not None:
            assert session > (session_niceness(other) or 0)


def test_a_prompt_process_comes_first_where_that_may_be_said(tmp_path: Path) -> None:
    with (
        waiting(tmp_path / "a", Priority.PROMPT) as prompt,
        waiting(tmp_path / "b", Priority.ORDINARY) as other,
    ):
        expected = (-10, -10) if may_take_precedence() else (niceness(other), session_niceness(other))
        if session_niceness(other) is None:
            expected = (expected[0], None)
        assert (niceness(prompt), session_niceness(prompt)) == expected


def test_it_gives_way_also_where_its_starter_takes_precedence(tmp_path: Path) -> None:
    """A new session begins at 0, whatever its starter's is: 5 above the starter's was above all others."""
    (found,) = in_a_session_of_its_own(
        "with precedence(), waiting(Path(sys.argv[1]), Priority.BACKGROUND) as yielding:",
        "    print(session_niceness(yielding))",
        argument=str(tmp_path / "log"),
    )
    assert found in ("None", "19")


def test_precedence_taken_twice_in_a_session_ends_with_its_blocks() -> None:
    before, after = in_a_session_of_its_own(
        "first, second, own = precedence(), precedence(), os.getpid()",
        "print(session_niceness(own))",
        "first.__enter__(); second.__enter__()",
        "first.__exit__(None, None, None); second.__exit__(None, None, None)",
        "print(session_niceness(own))",
    )
    assert before == after


def test_precedence_ends_with_its_block() -> None:
    in_a_session_of_its_own(
        "own = os.getpid()",
        "before = os.getpriority(os.PRIO_PROCESS, own), session_niceness(own)",
        "with precedence():",
        "    assert os.getpriority(os.PRIO_PROCESS, own) <= before[0]",
        "assert (os.getpriority(os.PRIO_PROCESS, own), session_niceness(own)) == before",
    )


def in_a_session_of_its_own(*lines: str, argument: str = "") -> list[str]:
    """What lines with the names of this module print; other workers share this process's own session.

    Raises CalledProcessError when they fail.
    """
    imports = (f"from {__name__} import *", "from sluice_substrate.priority import precedence")
    script = "\n".join([*imports, *lines])
    done = subprocess.run(
        [sys.executable, "-c", script, argument],
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.split()
