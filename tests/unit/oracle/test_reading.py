import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice_kit.artifacts import ArtifactMissing, ArtifactStore, DigestMismatch
from sluice_oracle import World, columns, iter_batches, reading, seal_world, verify_world
from sluice_oracle.columns import PAYMENT_SCHEMA, OutputWriter


def _first_file(world: World, output_id: str = "payments") -> Path:
    output = world.manifest.output(output_id)
    path = world.store.local_path(world.locator(output, output.files[0]))
    assert path is not None
    return path


def _flip(path: Path, position: int = -20) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def _all(world: World, output_id: str = "payments", start: int = 0, batch_rows: int = 1000) -> pa.Table:
    return pa.Table.from_batches(list(iter_batches(world, output_id, start, batch_rows)))


def test_every_output_reads_back_in_full(small_world: World) -> None:
    for output in small_world.manifest.outputs:
        table = _all(small_world, output.output_id)
        assert table.num_rows == output.rows
    traffic = _all(small_world)
    assert traffic.schema.names == PAYMENT_SCHEMA.names
    assert traffic.schema.types == PAYMENT_SCHEMA.types


@pytest.mark.parametrize("start", [0, 1, 99, 100, 250, 300, 301, 599, 600, 999, 1000])
def test_reading_starts_at_any_row_across_files_and_row_groups(
    monkeypatch: pytest.MonkeyPatch, draft_of: Any, rows_of: Any, oracle: ArtifactStore, start: int
) -> None:
    monkeypatch.setattr(columns, "ROW_GROUP_ROWS", 100)
    monkeypatch.setattr(columns, "FILE_ROWS", 300)
    world = seal_world(draft_of([rows_of(number) for number in range(1000)]), oracle, datetime.now(UTC))
    assert isinstance(world, World)
    assert [file.rows for file in world.manifest.output("payments").files] == [300, 300, 300, 100]
    _flip_unneeded(world, start)
    keys = [
        key for batch in iter_batches(world, "payments", start, 64) for key in batch["row_key"].to_pylist()
    ]
    assert keys == [f"P{number:06d}" for number in range(start, 1000)]


def _flip_unneeded(world: World, start: int) -> None:
    """Damage the files that end before `start`: reading must not need them."""
    output = world.manifest.output("payments")
    for file in output.files[: start // 300]:
        path = world.store.local_path(world.locator(output, file))
        assert path is not None
        _flip(path)


def test_a_flipped_byte_releases_no_row(small_world: World) -> None:
    _flip(_first_file(small_world))
    with pytest.raises(DigestMismatch, match=r"payments/part-00000\.parquet"):
        next(iter_batches(small_world, "payments"))


def test_a_removed_file_is_named(small_world: World) -> None:
    _first_file(small_world).unlink()
    with pytest.raises(ArtifactMissing, match=r"payments/part-00000\.parquet"):
        next(iter_batches(small_world, "payments"))


@pytest.mark.parametrize("limit", [10**9, 10])
def test_bytes_changed_after_the_check_are_not_what_is_read(
    small_world: World, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(reading, "MEMORY_LIMIT", limit)  # in memory, and through a temporary file
    expected = _all(small_world)
    batches = iter_batches(small_world, "payments", batch_rows=500)
    first = next(batches)
    path = _first_file(small_world)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))
    assert pa.Table.from_batches([first, *batches]) == expected


def test_a_start_beyond_the_rows_is_refused(small_world: World) -> None:
    assert list(iter_batches(small_world, "payments", 3000)) == []
    with pytest.raises(ValueError, match="outside of output payments with 3000 rows"):
        next(iter_batches(small_world, "payments", 3001))
    with pytest.raises(KeyError, match="this world has"):
        next(iter_batches(small_world, "ghost"))


def test_verification_names_every_bad_file_in_order(small_world: World) -> None:
    assert verify_world(small_world).ok
    _flip(_first_file(small_world, "cards"))
    _first_file(small_world, "labels").unlink()
    report = verify_world(small_world)
    assert not report.ok
    assert report.first_bad is not None
    assert report.first_bad.uri.endswith("outputs/cards/part-00000.parquet")
    assert report.first_bad.problem.startswith("digest mismatch: expected sha256:")
    assert [(bad.uri.rpartition("outputs/")[2], bad.problem[:7]) for bad in report.bad] == [
        ("cards/part-00000.parquet", "digest "),
        ("labels/part-00000.parquet", "missing"),
    ]


def test_verification_sees_a_changed_receipt(small_world: World) -> None:
    path = small_world.store.local_path(small_world.receipt_locator("labels.corridor"))
    assert path is not None
    _flip(path)
    report = verify_world(small_world)
    assert [bad.uri.rpartition("/worlds/")[2][-40:] for bad in report.bad] == [
        "ceipts/engine/labels.corridor/_passed.flag"[-40:]
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 500), max_size=5))
def test_bytes_do_not_depend_on_how_rows_arrive(tmp_path: Path, rows_of: Any, cuts: list[int]) -> None:
    table = pa.Table.from_pylist([rows_of(number) for number in range(500)], schema=PAYMENT_SCHEMA)
    digests = []
    for index, edges in enumerate(([0, 500], [0, *sorted(cuts), 500])):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}-{index}"
        with OutputWriter(folder, "payments", PAYMENT_SCHEMA, "row_key") as writer:
            for low, high in pairwise(edges):
                writer.write(table.slice(low, high - low))
        digests.append([(folder / name).read_bytes() for name in writer.names])
    assert digests[0] == digests[1]
