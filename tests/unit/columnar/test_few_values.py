"""Short texts are told by their bytes and their length, and accepted once."""

import numpy as np
import pytest

from sluice_kit.columnar import few_values
from sluice_kit.columnar.columns import TextColumn
from sluice_kit.columnar.few_values import FewValues
from sluice_kit.columnar.joined_values import JoinedValues


def read(few: FewValues, texts: list[str | None]) -> tuple[list[str | None], list[int]]:
    values = JoinedValues([(text or "").encode("latin-1") for text in texts])
    nulls = np.array([text is None for text in texts])
    return few.texts(TextColumn(values.starts, values.ends, nulls if nulls.any() else None), values)


def test_texts_that_differ_in_length_or_behind_the_seventh_character() -> None:
    accepted = {"", "a", "ab", "abcdefg"}
    few = FewValues(accepted.__contains__)
    texts = ["a", "ab", "", None, "abcdefg", "abcdefgh", "abcdefg" * 9, "a\0", "\0", "b", "\xe9"]
    for _ in range(2):
        assert read(few, texts) == (
            ["a", "ab", "", None, "abcdefg", None, None, None, None, None, None],
            [5, 6, 7, 8, 9, 10],
        )
    assert read(few, ["ab", "a"]) == (["ab", "a"], [])


def test_an_accepted_text_is_asked_about_once_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_values, "_REMEMBERED", 3)
    asked: list[str] = []

    def accepts(text: str) -> bool:
        asked.append(text)
        return True

    few = FewValues(accepts)
    for _ in range(3):
        assert read(few, ["a", "b", "a"]) == (["a", "b", "a"], [])
    assert sorted(asked) == ["a", "b"]
    many = [f"m{number}" for number in range(9)]
    assert read(few, many) == (many, [])
    assert read(few, ["c", "a"]) == (["c", "a"], [])
    assert asked.count("a") == 2
