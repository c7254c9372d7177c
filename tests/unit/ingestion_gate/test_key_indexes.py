"""The dedupe index in memory and the one on disk answer alike; what holds for the fake holds for the real."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion_gate.disk_keys import DiskKeys
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.model import Admission, Expired, Known
from services.ingestion_gate.state import KeyIndex
from sluice_kit.index import IndexSettings
from sluice_kit.stage import Coordinate

Make = Callable[[Path], KeyIndex]
SMALL = IndexSettings(memtable_rows=8, fan_in=2, merge_rest=0.0)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def admit(index: KeyIndex, batch_no: int, numbers: list[int], run_no: int = 1) -> None:
    admitted = {
        key(number): Admission(fact, bytes([number % 256]) * 32, number, run_no)
        for fact, number in enumerate(numbers)
    }
    index.add(admitted, [Coordinate("traffic.payment", n % 4, n * 10) for n in numbers], batch_no)


def known(number: int) -> Known:
    return Known(bytes([number % 256]) * 32, Coordinate("traffic.payment", number % 4, number * 10), number)


@pytest.fixture(
    params=[lambda _: MemoryKeys(), lambda folder: DiskKeys(folder, SMALL)], ids=["memory", "disk"]
)
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


def test_admitted_keys_are_known_and_others_are_not(make: Make, tmp_path: Path) -> None:
    index = make(tmp_path)
    admit(index, 1, [1, 2, 3])
    admit(index, 2, [7])
    assert index.lookup([key(3), key(4), key(7)]) == [known(3), None, known(7)]
    assert index.lookup([]) == []


def test_a_sealed_snapshot_holds_what_was_known_when_it_was_taken(make: Make, tmp_path: Path) -> None:
    index = make(tmp_path / "a")
    (tmp_path / "a").mkdir(exist_ok=True)
    for batch_no in range(1, 6):
        admit(index, batch_no, list(range(batch_no * 10, batch_no * 10 + 7)))
    frozen = index.freeze()
    admit(index, 6, [999])
    files = frozen.write(tmp_path / "a")

    again = make(tmp_path / "b")
    (tmp_path / "b").mkdir(exist_ok=True)
    moved = [(tmp_path / "b" / path.name) for path in files]
    for source, target in zip(files, moved, strict=True):
        target.write_bytes(source.read_bytes())
    again.load(moved)

    assert again.lookup([key(10), key(56), key(999)]) == [known(10), known(56), None]
    admit(again, 6, [999])
    assert again.lookup([key(999)]) == [known(999)]


def test_expiry_never_changes_an_answer_about_a_live_run(make: Make, tmp_path: Path) -> None:
    index = make(tmp_path)
    index.expire(Expired(closed_runs=(1,), standing_runs=(2,), oldest_ts_utc=100))
    for batch_no in range(1, 9):
        start = 100 + batch_no * 10
        admit(index, batch_no * 2, list(range(start, start + 8)), run_no=2)
        admit(index, batch_no * 2 + 1, list(range(start + 500, start + 508)), run_no=3)
    live = [
        n
        for b in range(1, 9)
        for n in (*range(100 + b * 10, 108 + b * 10), *range(600 + b * 10, 608 + b * 10))
    ]
    assert index.lookup([key(number) for number in live]) == [known(number) for number in live]


@settings(deadline=None, max_examples=25)
@given(batches=st.lists(st.lists(st.integers(0, 200), unique=True, max_size=12), max_size=12))
def test_disk_and_memory_answer_alike(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    disk, memory = DiskKeys(tmp_path_factory.mktemp("keys"), SMALL), MemoryKeys()
    seen: set[int] = set()
    for batch_no, numbers in enumerate(batches, start=1):
        fresh = [number for number in numbers if number not in seen]
        seen.update(fresh)
        for index in (disk, memory):
            if fresh:
                admit(index, batch_no, fresh)
    asked = [key(number) for number in range(201)]
    assert disk.lookup(asked) == memory.lookup(asked)
    disk.index.close()
