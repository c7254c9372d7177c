"""Texts proven sound together are such as the rules allow one by one, and sound ones are proven."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sluice_contracts.rules import FieldRules
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_kit.columnar.joined_values import JoinedValues
from sluice_kit.columnar.row_kernel import TEXT
from sluice_kit.columnar.row_reader import RowField, RowLayout
from sluice_kit.columnar.text_checks import TextCheck
from tests.unit.columnar.test_row_reader import written

FORMATS = [spec["pattern"] for spec in load_contracts(REPOSITORY / "contracts").formats.values()]
LAYOUT = "[a-z]{2}-[0-9]{3}"
SETS_THAT_OVERLAP = "[a-z]{2}[a-f]{2}"
ODD = [
    "[0-9]+",
    "[^x]{3}",
    "a|bc",
    ".*",
    r"\w{2,4}",
    "[a-z]{2}[0-9]{1,3}",
    '["a]{1,4}',
    SETS_THAT_OVERLAP,
    "[ -z]{1,4}",
]
RULES = [
    *(FieldRules(pattern=pattern) for pattern in (*FORMATS, LAYOUT, *ODD)),
    FieldRules(),
    FieldRules(min_length=2, max_length=5),
    FieldRules(values=("pos", "ecom")),
    FieldRules(values=("a longer value", "b")),
    FieldRules(values=("a", 'b"')),
    FieldRules(pattern="[a-z]{1,9}", min_length=3, max_length=4),
    FieldRules(pattern="[a-z]{2}", values=("ab", "cde")),
]
TEXTS = st.text(st.characters(max_codepoint=255), max_size=6) | st.text("abcdefxyz019-AZ", max_size=6)


def allowed(rules: FieldRules, text: str) -> bool:
    plain = text.isascii() and text.isprintable() and '"' not in text and "\\" not in text
    return (
        plain
        and (rules.pattern is None or re.fullmatch(rules.pattern, text) is not None)
        and (not rules.values or text in rules.values)
        and rules.min_length <= len(text)
        and (rules.max_length is None or len(text) <= rules.max_length)
    )


def proven(check: TextCheck, texts: list[str]) -> bool:
    """By their places alone."""
    values = JoinedValues([written(text.encode("latin-1")) for text in texts])
    layout = RowLayout([RowField("text", TEXT, characters=check.characters)])
    found = layout.read(values, values.starts, values.ends)
    assert found.sound.all()
    return found.proven("text")


@pytest.mark.parametrize("rules", RULES, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_proof_means_that_each_is_allowed(rules: FieldRules, data: st.DataObject) -> None:
    check = TextCheck(rules)
    likely = st.from_regex(rules.pattern, fullmatch=True) if rules.pattern else st.sampled_from(["ab", "abc"])
    texts = data.draw(st.lists(TEXTS | likely | st.sampled_from(rules.values or ("",)), max_size=4))
    assume(all(ord(character) < 256 for text in texts for character in text))

    verdicts = [allowed(rules, text) for text in texts]
    assert [check.accepts(text) for text in texts] == verdicts
    assert proven(check, texts) == (check.characters is not None and all(verdicts))


@pytest.mark.parametrize("pattern", [*FORMATS, LAYOUT])
def test_formats_are_proven_without_a_look_at_each_text(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = TextCheck(FieldRules(pattern=pattern))
    monkeypatch.setattr(TextCheck, "accepts", None)
    example = re.sub(
        r"\[(\\?.)[^\]]*\](?:\{(\d+)[^}]*\})?", lambda found: found[1] * int(found[2] or 1), pattern
    )
    assert proven(check, [example] * 3)
    assert not proven(check, [example, example + "!", example])
    assert not proven(check, [example, "\u00e9" * len(example), example])


def test_the_longest_allowed_text_is_known() -> None:
    longest = {
        pattern: TextCheck(FieldRules(pattern=pattern)).longest
        for pattern in ("[A-Z]{3}", LAYOUT, "[a-z]{0,9}")
    }
    assert longest == {"[A-Z]{3}": 3, LAYOUT: 6, "[a-z]{0,9}": 9}
    assert TextCheck(FieldRules(values=("pos", "ecom"))).longest == 4
    assert TextCheck(FieldRules(pattern="[0-9]+")).longest > 10**6


def test_a_layout_is_not_proven_by_its_neighbour() -> None:
    check = TextCheck(FieldRules(pattern=LAYOUT))
    assert proven(check, ["ab-123", "cd-456"])
    assert not proven(check, ["ab-12", "3cd-456"])


def test_what_is_proven_place_by_place() -> None:
    """All parts but the last have one length each, 64 characters together at most."""
    patterns = (
        "[A-Z]{3}",
        LAYOUT,
        SETS_THAT_OVERLAP,
        "[a-z]{2}[0-9]{1,3}",
        "[a-z]{1,3}[0-9]{2}",
        ".*",
        "[0-9]{64}[a-z]",
    )
    found = [pattern for pattern in patterns if TextCheck(FieldRules(pattern=pattern)).characters is not None]
    assert found == [*patterns[:4], "[0-9]{64}[a-z]"]
    assert TextCheck(FieldRules(pattern="[0-9]{65}[a-z]")).characters is None
    check = TextCheck(FieldRules(pattern="[0-9]{64}[a-z]{1,2}"))
    assert proven(check, ["1" * 64 + "a", "1" * 64 + "ab"])
    assert not proven(check, ["1" * 64 + "a", "1" * 63 + "aa"])
    assert not proven(check, ["1" * 64 + "a", "1" * 64 + "a1"])
