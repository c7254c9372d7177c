import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion_gate.disk_places import DiskPlaces
from services.ingestion_gate.receipt_index import (
    MemoryPlaces,
    PlaceIndex,
    coordinate_of,
    key_of,
    keys_of,
    own_id_in,
    own_ids_in,
    place_base,
)
from sluice_kit.stage import Coordinate

IDS = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda digest: digest.hex().encode()),
    st.binary(max_size=70),
    st.text(alphabet=" 0aF", min_size=64, max_size=64).map(str.encode),
)

Open = Callable[[], PlaceIndex]
AT = {("audit.receipt", 0): 7}


@pytest.fixture(params=["memory", "disk"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> PlaceIndex:
    if request.param == "memory":
        return MemoryPlaces()
    return DiskPlaces(tmp_path, table_rows=50, fan_in=3, piece_rows=16)


def test_a_place_names_its_coordinate() -> None:
    assert coordinate_of(place_base("audit.quarantine", 3) + 123_456_789_012) == Coordinate(
        "audit.quarantine", 3, 123_456_789_012
    )


@given(st.lists(IDS, max_size=8))
def test_keys_of_many_ids_are_those_of_each(ids: list[bytes]) -> None:
    assert keys_of(ids) == b"".join(map(key_of, ids))
    assert {len(key_of(one)) for one in ids} <= {16}


@given(st.lists(st.binary(min_size=32, max_size=32).map(lambda digest: digest.hex().encode()), max_size=5))
def test_own_events_begin_with_their_ids(ids: list[bytes]) -> None:
    values = [b"\x00head\x80\x01" + own + b"rest" for own in ids]
    assert [own_id_in(value) for value in values] == ids == own_ids_in(values)


@pytest.mark.parametrize("value", [b"", b"\x00head\x7e" + b"a" * 63])
def test_what_is_no_event_of_the_gate_has_no_own_id(value: bytes) -> None:
    with pytest.raises(ValueError, match="does not begin with its id"):
        own_ids_in([b"\x00head\x80\x01" + b"a" * 64, value])


def test_the_key_of_a_digest_is_its_first_half_and_no_other_id_looks_like_it() -> None:
    digest = "0123456789abcdef" * 4
    assert key_of(digest.encode()).hex() == digest[:32]
    assert key_of(b" " + digest[1:].encode()) != key_of(digest.encode())
    assert key_of(digest[:32].encode()) != key_of(digest.encode())


def test_every_place_of_a_key_is_found_through_seals_and_merges(index: PlaceIndex) -> None:
    rng = random.Random(1)
    wanted: dict[bytes, list[int]] = {}
    for number in range(3_000):
        key = key_of(str(rng.randrange(800)).encode())
        wanted.setdefault(key, []).append(number)
        index.add(key, [number])
        if number % 10 == 0:
            index.tend({("audit.receipt", 0): number + 1})
    assert index.rows == 3_000
    assert {key: index.find(key) for key in wanted} == wanted
    assert index.find(key_of(b"never seen")) == []


def test_one_key_may_have_more_places_than_a_table(index: PlaceIndex) -> None:
    key = key_of(b"sent again and again")
    for number in range(400):
        index.add(key, [number])
        index.tend({})
    assert index.find(key) == list(range(400))


def test_clear_forgets_rows_and_positions(index: PlaceIndex) -> None:
    index.add(key_of(b"a"), [1])
    index.seal(AT)
    assert index.positions == AT
    index.clear()
    assert (index.find(key_of(b"a")), index.rows, index.positions) == ([], 0, {})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**60), st.booleans()), max_size=120))
def test_disk_and_memory_agree(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    disk = DiskPlaces(tmp_path_factory.mktemp("places"), table_rows=8, fan_in=2, piece_rows=5)
    memory = MemoryPlaces()
    for key, place, tend in steps:
        disk.add(key_of(bytes([key])), [place])
        memory.add(key_of(bytes([key])), [place])
        if tend:
            disk.tend({})
    for key in range(41):
        assert disk.find(key_of(bytes([key]))) == memory.find(key_of(bytes([key])))


class TestRestart:
    def fill(self, folder: Path, rows: int = 500) -> DiskPlaces:
        index = DiskPlaces(folder, table_rows=50, fan_in=3, piece_rows=16)
        for number in range(rows):
            index.add(key_of(str(number).encode()), [number])
            index.tend({("audit.receipt", 0): number + 1})
        index.seal({("audit.receipt", 0): rows})
        return index

    def test_what_was_sealed_is_there_again(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        again = DiskPlaces(tmp_path)
        assert again.positions == {("audit.receipt", 0): 500}
        assert [again.find(key_of(str(number).encode())) for number in range(500)] == [
            [n] for n in range(500)
        ]

    def test_what_was_not_sealed_is_not_and_the_position_says_so(self, tmp_path: Path) -> None:
        index = self.fill(tmp_path)
        index.add(key_of(b"late"), [9_999])
        again = DiskPlaces(tmp_path)
        assert again.find(key_of(b"late")) == []
        assert again.positions == {("audit.receipt", 0): 500}

    def test_an_unfinished_merge_leaves_nothing(self, tmp_path: Path) -> None:
        index = DiskPlaces(tmp_path, table_rows=50, fan_in=3, piece_rows=16)
        for number in range(150):
            index.add(key_of(str(number).encode()), [number])
            if number % 50 == 49:
                index.seal({("audit.receipt", 0): number + 1})
        index.tend({})  # one piece of the merge
        assert len(list(tmp_path.glob("*.places"))) == 4
        again = DiskPlaces(tmp_path)
        assert len(list(tmp_path.glob("*.places"))) == 3
        assert again.find(key_of(b"77")) == [77]

    @pytest.mark.parametrize("damage", ["delete", "cut", "manifest"])
    def test_a_damaged_folder_is_an_empty_index(self, tmp_path: Path, damage: str) -> None:
        self.fill(tmp_path)
        victim = min(tmp_path.glob("*.places"))
        match damage:
            case "delete":
                victim.unlink()
            case "cut":
                victim.write_bytes(victim.read_bytes()[:-1])
            case _:
                (tmp_path / "manifest.json").write_text("{")
        again = DiskPlaces(tmp_path)
        assert (again.rows, again.positions) == (0, {})
