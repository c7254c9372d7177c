"""Payload hashes of many events: the JSON that `sluice_contracts.payload_hash` hashes, made by columns."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from sluice_kit.columnar.column_values import ColumnValues
from sluice_kit.columnar.read_plan import PAYLOAD, FieldPlan, ListField, ReadPlan, TextField

_Tree = dict[str, "FieldPlan | _Tree"]


class PayloadHasher:
    """Hashes the events of one contract."""

    def __init__(self, plan: ReadPlan) -> None:
        tree: _Tree = {}
        for field in plan.fields:
            if field.path.startswith(PAYLOAD):
                *parents, name = field.path.removeprefix(PAYLOAD).split(".")
                record = tree
                for parent in parents:
                    record = record.setdefault(parent, {})  # type: ignore[assignment]
                record[name] = field
        self._layout = (",", *_layout(tree), "]")

    def digests(self, heads: Sequence["hashlib._Hash"], values: ColumnValues) -> list[bytes]:
        """sha256 (32 bytes) of each row; all texts are such as JSON writes as they stand.

        `heads` are the states into which all but time and payload has gone, one a row.
        """
        digests = []
        for head, tail in zip(heads, self._tails(values), strict=True):
            state = head.copy()
            state.update(tail)
            digests.append(state.digest())
        return digests

    def _tails(self, values: ColumnValues) -> Iterator[bytes]:
        """`ts_utc,payload]` of each row."""
        pieces: list[Iterable[str]] = [map(repr, values.numbers("ts_utc"))]
        literal = ""
        for part in self._layout:
            if isinstance(part, str):
                literal += part
                continue
            shown, quote = _shown(part, values)
            if isinstance(shown, str):
                literal += quote + shown + quote
            else:
                pieces += [repeat(literal + quote), shown]
                literal = quote
        return map(str.encode, map("".join, zip(*pieces, repeat(literal), strict=False)))


def _layout(tree: _Tree) -> Iterator[str | FieldPlan]:
    """JSON with sorted keys, a field where its value goes."""
    yield "{"
    for number, (name, member) in enumerate(sorted(tree.items())):
        yield f'{"," if number else ""}"{name}":'
        if isinstance(member, dict):
            yield from _layout(member)
        else:
            yield member
    yield "}"


def _shown(field: FieldPlan, values: ColumnValues) -> tuple[str | Iterable[str], str]:
    """JSON of each row, or of all of them where it is the same, and the quote to put around it."""
    if isinstance(field, ListField):
        return values.list_json(field.path), ""
    is_text = isinstance(field, TextField)
    if field.path in values.constants:
        return values.constants[field.path], '"'
    column = values.text_column(field.path) if is_text else values.number_column(field.path)
    if column.nulls is not None and column.nulls.all():
        return "null", ""
    listed: list[Any] = values.texts(field.path) if is_text else values.numbers(field.path)
    if column.nulls is None:
        return (listed, '"') if is_text else (map(repr, listed), "")
    return ["null" if value is None else f'"{value}"' if is_text else repr(value) for value in listed], ""
