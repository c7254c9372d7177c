"""Columnar event ids are the sha256 of the documented JSON array, for every key."""

import hashlib

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.columnar import ColumnValueError, EventIds

PINS = ("payment", "ab" * 32, 'run "1"', "payments")


def by_definition(key: str) -> str:
    document = orjson.dumps(["sluice.event.v1", *PINS, key])
    return hashlib.sha256(document).hexdigest()


@given(st.lists(st.text(max_size=40), max_size=20))
def test_ids_are_the_hash_of_the_documented_array(keys: list[str]) -> None:
    ids = EventIds(*PINS).for_keys(pa.array(keys, pa.string()))
    assert ids.to_pylist() == [by_definition(key) for key in keys]


@pytest.mark.parametrize("key", ['quote"', "back\\slash", "tab\t", "nul\x00", "delete\x7f", "é漢🦉", ""])
def test_keys_that_json_escapes_are_escaped_as_orjson_does(key: str) -> None:
    column = pa.array(["left out", key, "plain"]).slice(1)
    assert EventIds(*PINS).for_keys(column).to_pylist() == [by_definition(key), by_definition("plain")]


def test_dictionary_columns_are_read_too() -> None:
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    assert EventIds(*PINS).for_keys(column).to_pylist() == [by_definition(key) for key in "aba"]


def test_a_null_key_is_an_error_that_names_the_row() -> None:
    with pytest.raises(ColumnValueError, match="row_key, row 1 of the batch: null in a required field"):
        EventIds(*PINS).for_keys(pa.array(["a", None]))


def test_a_key_that_is_no_string_is_an_error() -> None:
    with pytest.raises(ColumnValueError, match="row_key: a column of strings is wanted, this one is int64"):
        EventIds(*PINS).for_keys(pa.array([1, 2]))
