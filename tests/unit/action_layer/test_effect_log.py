"""The effect log holds what was committed, whatever was written before a kill."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.action_layer.effect_log import EffectLog, EffectLogError, Extent

START = Extent(1, 0)


def open_log(folder: Path, said: list[str] | None = None, roll: int = 1_000) -> EffectLog:
    return EffectLog(folder, roll_bytes=roll, sync=False, say=(said if said is not None else []).append)


def content(log: EffectLog, files: int) -> bytes:
    return b"".join(log.path(file).read_bytes() for file in range(1, files + 1) if log.path(file).is_file())


def test_lines_of_a_batch_that_did_not_commit_are_gone_with_the_next(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    committed = log.append(START, [b"one\n"])
    log.append(committed, [b"lost, and longer than what follows\n"])
    reached = log.append(committed, [b"two\n"])
    assert content(log, 1) == b"one\ntwo\n"
    assert reached == Extent(1, 8)


def test_a_start_cuts_off_what_was_not_committed(tmp_path: Path) -> None:
    log = open_log(tmp_path, roll=4)
    committed = log.append(START, [b"one\n"])
    log.append(committed, [b"in the next file\n"])
    log.trim(committed)
    assert content(log, 9) == b"one\n"


def test_a_full_file_is_closed_for_good(tmp_path: Path) -> None:
    log = open_log(tmp_path, roll=4)
    reached = log.append(log.append(START, [b"one\n"]), [b"two\n"])
    assert reached == Extent(2, 4)
    assert log.path(1).read_bytes() == b"one\n"
    assert log.path(1).stat().st_mode & 0o222 == 0


def test_missing_lines_are_said_and_nothing_is_written_over_the_gap(tmp_path: Path) -> None:
    said: list[str] = []
    log = open_log(tmp_path, said)
    committed = log.append(START, [b"one\n", b"two\n"])
    log.path(1).write_bytes(b"one\n")
    assert log.append(committed, [b"three\n"]) == Extent(2, 6)
    assert log.path(1).read_bytes() == b"one\n"
    assert "8 were committed" in said[0]


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(EffectLogError, match="file"):
        open_log(blocked).append(START, [b"x\n"])


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=12), roll=st.integers(1, 40))
def test_any_mixture_of_commits_and_aborts_leaves_the_committed_lines(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, bool]], roll: int
) -> None:
    log = open_log(tmp_path_factory.mktemp("log"), roll=roll)
    at, expected, number = START, b"", 0
    for lines, commits in batches:
        batch = [f"{number + line}\n".encode() for line in range(lines)]
        number += lines
        reached = log.append(at, batch)
        if commits:
            at, expected = reached, expected + b"".join(batch)
    log.trim(at)
    assert content(log, at.file + 1) == expected
