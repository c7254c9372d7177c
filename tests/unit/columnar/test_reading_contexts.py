"""Contexts: one object for the events of a run, also over calls, and memory for a bounded number."""

import pytest

from sluice_kit.columnar import event_context, read_columns
from sluice_kit.columnar.reader import FEWEST_ROWS
from tests.unit.columnar.events import PLAIN, message, payment, read_and_compare, with_plain


def test_events_of_one_run_share_a_context_over_calls() -> None:
    (first,), _ = read_columns(PLAIN)
    (second,), _ = read_columns(PLAIN)
    assert len({id(context) for context in (*first.contexts, *second.contexts)}) == 1


def test_runs_in_one_batch_have_a_context_each() -> None:
    values = [message(payment(number, run_id=f"run-{number % 3}")) for number in range(FEWEST_ROWS)]
    (columns,), alone = read_and_compare(values)
    assert alone == []
    assert [context.run_id for context in columns.contexts] == [f"run-{row % 3}" for row in columns.rows]
    assert len(set(columns.contexts)) == 3


@pytest.mark.parametrize(
    "pins",
    [
        {"tenant": ""},
        {"tenant": "with space"},
        {"run_id": "-starts-wrong"},
        {"scenario_id": "x" * 129},
        {"parameter_hash": "caf\u00e9"},
        {"manifest_fingerprint": 'quoted"'},
    ],
    ids=str,
)
def test_pins_that_break_a_rule_are_refused(pins: dict[str, str]) -> None:
    broken = message(payment(1, **pins))
    _, alone = read_and_compare(with_plain([broken, broken]))
    assert alone == [1, 3]
    assert read_columns([broken] * FEWEST_ROWS) == ([], list(range(FEWEST_ROWS)))


def test_a_flood_of_contexts_is_read_and_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_context, "_REMEMBERED", 8)
    values = [message(payment(number, run_id=f"flood-{number}")) for number in range(FEWEST_ROWS)]
    (columns,), alone = read_and_compare(values)
    assert alone == []
    assert len(set(columns.contexts)) == FEWEST_ROWS
    (again,), _ = read_columns(values)
    shared = set(columns.contexts) & set(again.contexts)
    assert len(shared) <= 8
