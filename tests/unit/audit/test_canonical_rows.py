"""Rows from canonical text are those from the records, and wrong ones are refused alike."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sluice_audit import RecordInvalid
from sluice_audit.decision_record import GROUPS
from sluice_audit.record_rows import RecordRows
from tests.unit.audit.records import decision_record, incomplete_record


def texts_of(record: dict[str, Any]) -> list[str]:
    return [orjson.dumps(record[name], option=orjson.OPT_SORT_KEYS).decode() for name in GROUPS]


def test_the_same_rows() -> None:
    records = [decision_record(number) for number in range(50)]
    records += [incomplete_record(number, "decision", "intents", "outcomes") for number in range(50, 60)]
    rows, wanted = RecordRows.of_canonical(list(map(texts_of, records))), RecordRows.of_records(records)
    assert (rows.leaves, rows.texts) == (wanted.leaves, wanted.texts)


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("identity", '{"event_id":"e 1"}'),
        ("receipt", "null"),
        ("chain", '{"corrects":null,"missing":["snapshot"],"status":"COMPLETE"}'),
        ("chain", '{"corrects":null,"missing":["receipt"],"status":"INCOMPLETE"}'),
    ],
)
def test_what_is_not_of_the_form_is_refused(group: str, text: str) -> None:
    whole = [texts_of(record) for record in map(decision_record, range(3))]
    whole[1][GROUPS.index(group)] = text
    with pytest.raises(RecordInvalid):
        RecordRows.of_canonical(whole)
