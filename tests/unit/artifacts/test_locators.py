import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluice_kit.artifacts import Digest, Locator, UnsupportedDigest, bundle_digest, canonical_json, open_store

SHAPES = Path(__file__).parents[3] / "contracts" / "shapes"
GOOD = {
    "uri": "artifact://dla/a",
    "digest": {"algo": "sha256", "hash": "0" * 64},
    "bytes": 1,
    "schema_version": 1,
}
segments = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:=-]{0,20}", fullmatch=True)
locators = st.builds(
    lambda parts, data, version: Locator(
        uri="artifact://" + "/".join(parts), digest=Digest.of(data), bytes=len(data), schema_version=version
    ),
    st.lists(segments, min_size=1, max_size=5),
    st.binary(max_size=50),
    st.integers(1, 9),
)


@given(locators, st.dictionaries(st.text(min_size=20, max_size=25), st.integers(0, 9), max_size=3))
def test_a_locator_loads_from_what_it_writes_whatever_newer_writers_add(locator: Any, extra: Any) -> None:
    written = json.loads(canonical_json(locator.to_fields() | extra))
    assert Locator.load(written) == locator


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "no-scheme"},
        {"uri": "artifact://dla/../x"},
        {"uri": "artifact://dla//x"},
        {"bytes": -1},
        {"bytes": "1"},
        {"schema_version": 0},
        {"digest": {"algo": "md5", "hash": "0" * 64}},
        {"digest": {"algo": "sha256", "hash": "XYZ"}},
        {"surprise": 1},
    ],
)
def test_making_a_locator_is_strict(change: Any) -> None:
    with pytest.raises(ValidationError):
        Locator.model_validate(GOOD | change)


def test_loading_keeps_another_algorithm_and_reading_refuses_it(tmp_path: Path) -> None:
    loaded = Locator.load(GOOD | {"digest": {"algo": "sha3", "hash": "AB"}, "later": True})
    assert (loaded.digest.algo, loaded.digest.hash) == ("sha3", "ab")
    with pytest.raises(UnsupportedDigest, match="sha3"):
        open_store(tmp_path).read(loaded)


def test_loading_needs_what_a_locator_is() -> None:
    with pytest.raises(ValidationError, match="bytes"):
        Locator.load({name: value for name, value in GOOD.items() if name != "bytes"})


def test_a_locator_has_the_fields_of_the_contract() -> None:
    shape = json.loads((SHAPES / "locator.v1.json").read_text())
    assert list(Locator.model_validate(GOOD).to_fields()) == [field["name"] for field in shape["fields"]]


@given(st.dictionaries(segments, st.binary(max_size=8), min_size=1, max_size=6), st.randoms())
def test_a_bundle_digest_does_not_depend_on_order_but_on_every_byte(members: Any, random: Any) -> None:
    pairs = [(name, Digest.of(data)) for name, data in members.items()]
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert bundle_digest(shuffled) == bundle_digest(pairs)
    name, _ = pairs[0]
    assert bundle_digest([(name, Digest.of(b"changed bytes")), *pairs[1:]]) != bundle_digest(pairs)


def test_a_bundle_names_each_member_once() -> None:
    with pytest.raises(ValueError, match="same name"):
        bundle_digest([("a", Digest.of(b"1")), ("a", Digest.of(b"2"))])
