"""The effect log holds what was committed, whatever was written before a kill."""

import os
import stat
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.action_layer.effect_log import EffectLog, EffectLogError, Extent, ForeignEffectLogError

OWNER = UUID(int=1)
START = Extent(1, 0, OWNER)


def open_log(
    folder: Path, said: list[str] | None = None, roll: int = 1_000, *, batch: int = 100, sync: bool = False
) -> EffectLog:
    say = (said if said is not None else []).append
    log = EffectLog(folder, roll_bytes=roll, batch_bytes=batch, sync=sync, say=say)
    if not any(folder.glob("*.ndjson")):
        log.trim(START)
    return log


def content(log: EffectLog, files: int) -> bytes:
    return b"".join(log.path(file).read_bytes() for file in range(1, files + 1) if log.path(file).is_file())


def test_lines_of_a_batch_that_did_not_commit_are_gone_with_the_next(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    committed = log.append(START, [b"one\n"])
    log.append(committed, [b"lost, and longer than what follows\n"])
    reached = log.append(committed, [b"two\n"])
    assert content(log, 1) == b"one\ntwo\n"
    assert reached == Extent(1, 8, OWNER)


def test_a_start_cuts_off_what_was_not_committed(tmp_path: Path) -> None:
    log = open_log(tmp_path, roll=4)
    committed = log.append(START, [b"one\n"])
    log.append(committed, [b"in the next file\n"])
    log.trim(committed)
    assert content(log, 9) == b"one\n"


def test_a_full_file_is_closed_for_good(tmp_path: Path) -> None:
    log = open_log(tmp_path, roll=4)
    reached = log.append(log.append(START, [b"one\n"]), [b"two\n"])
    assert reached == Extent(2, 4, OWNER)
    assert log.path(1).read_bytes() == b"one\n"
    assert log.path(1).stat().st_mode & 0o222 == 0


def test_missing_lines_are_said_and_nothing_is_written_over_the_gap(tmp_path: Path) -> None:
    said: list[str] = []
    log = open_log(tmp_path, said)
    committed = log.append(START, [b"one\n", b"two\n"])
    log.path(1).write_bytes(b"one\n")
    assert log.append(committed, [b"three\n"]) == Extent(2, 6, OWNER)
    assert log.path(1).read_bytes() == b"one\n"
    assert "8 were committed" in said[0]


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(EffectLogError, match="file"):
        open_log(blocked).append(START, [b"x\n"])


def test_a_database_that_knows_nothing_of_a_closed_file_cuts_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path, roll=4)
    log.append(log.append(START, [b"one\n"]), [b"two\n"])
    fresh = open_log(tmp_path, roll=4)
    for cut in (fresh.trim, lambda at: fresh.append(at, [b"x"])):
        with pytest.raises(ForeignEffectLogError, match=r"closed files \(effects-000001.ndjson\)") as problem:
            cut(START)
        assert "runbooks/effect-log.md" in str(problem.value)
    assert content(log, 9) == b"one\ntwo\n"


def test_more_than_one_batch_is_never_cut_off(tmp_path: Path) -> None:
    log = open_log(tmp_path, batch=8)
    behind = log.append(START, [b"one\n"])
    log.append(log.append(behind, [b"two\n"]), [b"three\n"])
    with pytest.raises(ForeignEffectLogError, match="10 bytes"):
        log.trim(behind)
    with pytest.raises(ForeignEffectLogError, match="10 bytes"):
        log.append(behind, [b"x\n"])
    assert content(log, 1) == b"one\ntwo\nthree\n"


def test_a_database_without_a_note_cuts_nothing_at_all(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(START, [b"one\n"])
    another = open_log(tmp_path)
    with pytest.raises(ForeignEffectLogError, match="4 bytes"):
        another.append(START, [b"x\n"])
    with pytest.raises(ForeignEffectLogError, match="4 bytes"):
        another.trim(START, known=False)
    assert content(log, 1) == b"one\n"


def test_another_database_writes_and_cuts_nothing_however_little_lies_beyond_its_note(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    reached = log.append(START, [b"one\n"])
    theirs = Extent(reached.file, reached.bytes - 1, UUID(int=2))
    for cut in (open_log(tmp_path).trim, lambda at: log.append(at, [b"x\n"])):
        with pytest.raises(ForeignEffectLogError, match=f"belongs to database {OWNER}, and this is"):
            cut(theirs)
    assert content(log, 1) == b"one\n"


def test_files_of_before_belong_to_the_first_database_that_fits(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    reached = log.append(START, [b"one\n"])
    (tmp_path / "effects.owner").unlink()
    open_log(tmp_path).trim(reached)
    with pytest.raises(ForeignEffectLogError):
        open_log(tmp_path).trim(Extent(1, 4, UUID(int=2)))


@pytest.mark.parametrize(("sync", "synced"), [(True, [1, 2, 3]), (False, [])])
def test_lines_are_on_the_disk_before_the_batch_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool, synced: list[int]
) -> None:
    """Each append syncs what it wrote; a new file is synced in its folder, too."""
    sizes: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            sizes.append(status.st_size)

    log, at = open_log(tmp_path, sync=sync), START
    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(3):
        at = log.append(at, [b"\n"])
    assert sizes == synced


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
