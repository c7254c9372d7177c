import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_oracle import keys as keys_module
from sluice_oracle.keys import KeySet, SeenKeys, hash_keys

batches = st.lists(st.lists(st.text(max_size=6), max_size=30), max_size=6)


@given(st.lists(st.text(max_size=20), max_size=50))
def test_equal_keys_have_equal_hashes_and_others_differ(keys: list[str]) -> None:
    hashes = hash_keys(pa.array(keys, pa.string()))
    by_hash = dict(zip(hashes.tolist(), keys, strict=True))
    assert len(by_hash) == len(set(keys))
    encoded = pa.array(keys, pa.string()).dictionary_encode()
    assert hash_keys(encoded).tolist() == hashes.tolist()
    assert hash_keys(pa.array(["x", *keys], pa.string()).slice(1)).tolist() == hashes.tolist()


@given(batches)
def test_repeated_keys_are_those_a_set_has_seen(parts: list[list[str]]) -> None:
    seen, reference = SeenKeys(), set()
    for part in parts:
        expected = []
        for key in part:
            expected.append(key in reference)
            reference.add(key)
        assert seen.repeated(pa.array(part, pa.string())).tolist() == expected


@given(batches, st.lists(st.text(max_size=6), max_size=10))
def test_missing_and_suspects_agree_with_a_set(parts: list[list[str]], wanted: list[str]) -> None:
    collected, everything = KeySet(), [key for part in parts for key in part]
    for part in parts:
        collected.add(pa.array(part, pa.string()))
    assert collected.missing(pa.array(wanted, pa.string())).tolist() == [
        key not in everything for key in wanted
    ]
    assert len(collected.suspects()) == len({key for key in everything if everything.count(key) > 1})


def test_a_hash_collision_is_not_taken_for_a_repeated_key(
    monkeypatch: pytest.MonkeyPatch, draft_of: object, rows_of: object, oracle: object
) -> None:
    """With a hash that says the same of every key, only a real repeat fails the gate."""
    from datetime import UTC, datetime

    from sluice_oracle import scanning, seal_world

    def constant(keys: pa.Array) -> np.ndarray:
        return np.ones(len(keys), np.uint64)

    monkeypatch.setattr(keys_module, "hash_keys", constant)
    monkeypatch.setattr(scanning, "hash_keys", constant)
    world = seal_world(draft_of([rows_of(1), rows_of(2)]), oracle, datetime.now(UTC))
    assert [gate.verdict for gate in world.manifest.gates] == ["PASS"]
