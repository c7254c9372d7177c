"""What a local folder adds to the common checks: atomic, durable, shared between processes."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from sluice_kit.artifacts import (
    ArtifactMissing,
    DigestMismatch,
    Locator,
    SealConflict,
    SensitiveContent,
    StoreRoot,
    StoreUnavailable,
    open_store,
)


def test_sealed_files_are_read_only_and_staging_is_empty(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.seal("dla/a", b"a")
    store.seal("dla/a", b"b")
    path = store.local_path("dla/a")
    assert path.stat().st_mode & 0o777 == 0o444
    assert list((tmp_path / ".staging").iterdir()) == []


def test_link_file_shares_the_file_instead_of_copying_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "root")
    source = tmp_path / "state"
    source.write_bytes(b"state")
    locator = store.link_file("checkpoints/gate/0/state", source)
    assert store.local_path(locator).samefile(source)
    source.unlink()
    assert store.read(locator) == b"state"


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    locator = store.seal("dla/a", b"some bytes")
    path = store.local_path(locator)
    path.chmod(0o644)
    path.write_bytes(b"some Bytes")
    with pytest.raises(DigestMismatch, match=r"artifact://dla/a: digest mismatch, expected sha256:.*actual"):
        store.read(locator)
    assert isinstance(store.seal("dla/a", b"some bytes"), SealConflict)


def test_a_file_that_is_not_there_cannot_be_sealed(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="nothing-here"):
        open_store(tmp_path).seal("dla/a", tmp_path / "nothing-here")


def test_leftovers_of_killed_processes_are_swept_after_a_day(tmp_path: Path) -> None:
    staging = tmp_path / ".staging"
    open_store(tmp_path)
    (staging / "old").write_bytes(b"x")
    (staging / "world-old").mkdir()
    (staging / "fresh").write_bytes(b"x")
    for name in ("old", "world-old"):
        os.utime(staging / name, (time.time() - 90_000,) * 2)
    open_store(tmp_path)
    assert [entry.name for entry in staging.iterdir()] == ["fresh"]


def test_a_root_must_be_a_folder_or_a_bucket(tmp_path: Path) -> None:
    for root in ("gs://bucket/x", "s3://"):
        with pytest.raises(ValueError, match="use a folder path or s3://bucket/prefix"):
            open_store(root)
    assert open_store(f"file://{tmp_path}").seal("dla/a", b"").bytes == 0


def test_s3_credentials_come_by_name_only() -> None:
    with pytest.raises(LookupError, match="s3_key_id"):
        open_store(StoreRoot(root="s3://bucket", access_key_secret="s3_key_id"))


def _seal_own_bytes(root: Any, mine: Any, start: Any, results: Any) -> Any:
    store = open_store(root)
    start.wait(30)
    outcomes = [store.seal(f"dla/{number}", mine * 1000) for number in range(50)]
    results.put([isinstance(outcome, Locator) for outcome in outcomes])


def test_of_many_processes_exactly_one_seals_each_path(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Event(), spawn.Queue()
    racers = [
        spawn.Process(target=_seal_own_bytes, args=(tmp_path, bytes([65 + number]), start, results))
        for number in range(3)
    ]
    for racer in racers:
        racer.start()
    start.set()
    won = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(30)
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * 50


def _child(code: Any, root: Any) -> Any:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(root)], stdout=subprocess.PIPE)


def test_a_full_disk_is_a_named_error_and_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # the kernel refuses longer files
        with pytest.raises(StoreUnavailable, match="artifact://registry/big: cannot seal"):
            store.seal("registry/big", b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not store.exists("registry/big")
    assert list((tmp_path / ".staging").iterdir()) == []
    assert store.seal("registry/big", b"x" * 1_000_000).bytes == 1_000_000


def test_a_process_killed_while_it_seals_leaves_only_whole_artifacts(tmp_path: Path) -> None:
    child = _child(
        """
        import sys
        from sluice_kit.artifacts import open_store
        store = open_store(sys.argv[1])
        for number in range(100_000):
            store.put_content("registry", number.to_bytes(4, "big") * 500_000)
            print(number, flush=True)
        """,
        tmp_path,
    )
    for _ in range(5):
        assert child.stdout.readline()
    child.kill()
    child.wait(30)
    child.stdout.close()
    store = open_store(tmp_path)
    entries = store.list("registry")
    assert len(entries) >= 5
    for entry in entries:
        assert store.locate(entry.path).digest.hash == entry.path.rpartition("/")[2]


def test_what_looks_like_a_secret_is_reported(tmp_path: Path) -> None:
    reports = []
    store = open_store(tmp_path, on_sensitive=reports.append)
    with pytest.raises(SensitiveContent, match=r"not published, it seems to hold a private key.*quarantine"):
        store.seal("sr/run_plan/p", b"-----BEGIN RSA PRIVATE KEY-----\nabc")
    store.put_content("ig/evidence", b"password=hunter22")
    assert [(report.findings, report.quarantined_uri is None) for report in reports] == [
        (("a private key",), False),
        (("a password",), True),
    ]
