"""Generates ``generated/records.py``: frozen, slotted, keyword-only dataclasses, one a record a version."""

from __future__ import annotations

from sluice_contracts_codegen.model import (
    REQUIRED,
    Array,
    Contracts,
    Field,
    Map,
    Nullable,
    Primitive,
    Record,
    Schema,
    Type,
)
from sluice_contracts_codegen.shapes import SHAPE_NAMESPACE
from sluice_contracts_codegen.validators import HEADER

_PYTHON = {"string": "str", "bytes": "bytes", "int": "int", "long": "int", "boolean": "bool"}


def records_module(contracts: Contracts) -> str:
    """The text of ``generated/records.py``."""
    out = [
        HEADER,
        "from __future__ import annotations\n",
        "from dataclasses import dataclass, field",
        "from typing import Any, ClassVar\n",
        "from sluice_contracts.record_base import EventRecord\n",
    ]
    names: dict[Record, str] = {}
    tops: list[tuple[Schema, str]] = []
    for schema in contracts.schemas:
        for record in _inner_first(schema.root):
            if record in names:
                continue
            names[record] = _class_name(record, schema, set(names.values()))
            out += _record_class(record, names, schema if record is schema.root else None)
        tops.append((schema, names[schema.root]))
    out.append("\n\nRECORDS: dict[tuple[str, int], type[EventRecord]] = {")
    out += [f'    ("{schema.event_type}", {schema.version}): {name},' for schema, name in tops]
    out.append("}\n")
    exported = sorted({*names.values(), "RECORDS"})
    out.append("__all__ = [\n" + "".join(f'    "{name}",\n' for name in exported) + "]")
    return "\n".join(out) + "\n"


def _class_name(record: Record, schema: Schema, taken: set[str]) -> str:
    """``Locator`` for shared records (``Locator2`` for a second layout), else ``PaymentPayloadV1``."""
    namespace, _, name = record.full_name.rpartition(".")
    if namespace != SHAPE_NAMESPACE:
        return f"{name}V{schema.version}"
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}{number}"
    return candidate


def _inner_first(root: Record) -> list[Record]:
    found: dict[Record, None] = {}

    def visit(declared: Type) -> None:
        match declared:
            case Record():
                for entry in declared.fields:
                    visit(entry.type)
                found.setdefault(declared)
            case Nullable(inner) | Array(inner) | Map(inner):
                visit(inner)
            case _:
                pass

    visit(root)
    return list(found)


def _fixed(entry: Field, top: Schema | None) -> bool:
    return top is not None and top.enveloped and entry.name in {"event_type", "schema_version"}


def _record_class(record: Record, names: dict[Record, str], top: Schema | None) -> list[str]:
    base = "(EventRecord)" if top else ""
    out = ["\n\n@dataclass(frozen=True, slots=True, kw_only=True)", f"class {names[record]}{base}:"]
    out.append(f'    """{record.doc}"""\n')
    if top:
        out += [
            f'    event_type: ClassVar[str] = "{top.event_type}"',
            f"    schema_version: ClassVar[int] = {top.version}\n",
        ]
    own = [entry for entry in record.fields if not _fixed(entry, top)]
    out += [f"    {entry.name}: {_annotation(entry.type, names)}{_default(entry)}" for entry in own]
    values = [
        f'"{entry.name}": self.{entry.name}'
        if _fixed(entry, top)
        else f'"{entry.name}": {_out(entry.type, f"self.{entry.name}")}'
        for entry in record.fields
    ]
    arguments = [
        f"{entry.name}={_in(entry.type, _get(entry), names)}"
        for entry in record.fields
        if not _fixed(entry, top)
    ]
    out += [
        "\n    def to_fields(self) -> dict[str, Any]:",
        '        """The record as the plain dict that the codec takes."""',
        "        return {\n            " + ",\n            ".join(values) + ",\n        }",
        "\n    @classmethod",
        f"    def from_fields(cls, fields: dict[str, Any]) -> {names[record]}:",
        '        """The record of a decoded dict."""',
        "        return cls(\n            " + ",\n            ".join(arguments) + ",\n        )",
    ]
    return out


def _get(entry: Field) -> str:
    if entry.default is REQUIRED:
        return f'fields["{entry.name}"]'
    if entry.default is None:
        return f'fields.get("{entry.name}")'
    return f'fields.get("{entry.name}", {entry.default!r})'


def _annotation(declared: Type, names: dict[Record, str]) -> str:
    match declared:
        case Primitive():
            return _PYTHON[declared.kind]
        case Nullable(inner):
            return f"{_annotation(inner, names)} | None"
        case Array(items):
            return f"tuple[{_annotation(items, names)}, ...]"
        case Map(values):
            return f"dict[str, {_annotation(values, names)}]"
        case Record():
            return names[declared]


def _default(entry: Field) -> str:
    if entry.default is REQUIRED:
        return ""
    if isinstance(entry.type, Map):
        return " = field(default_factory=dict)"
    if isinstance(entry.type, Array):
        return " = ()"
    return f" = {entry.default!r}"


def _out(declared: Type, value: str) -> str:
    match declared:
        case Record():
            return f"{value}.to_fields()"
        case Nullable(Record()):
            return f"None if {value} is None else {value}.to_fields()"
        case Array(Record()):
            return f"[item.to_fields() for item in {value}]"
        case Array():
            return f"list({value})"
        case Map(Record()):
            return f"{{key: item.to_fields() for key, item in {value}.items()}}"
        case Map():
            return f"dict({value})"
        case _:
            return value


def _in(declared: Type, value: str, names: dict[Record, str]) -> str:
    match declared:
        case Record():
            return f"{names[declared]}.from_fields({value})"
        case Nullable(Record() as inner):
            return f"None if (found := {value}) is None else {names[inner]}.from_fields(found)"
        case Array(Record() as items):
            return f"tuple({names[items]}.from_fields(item) for item in {value})"
        case Array():
            return f"tuple({value})"
        case Map(Record() as values):
            return f"{{key: {names[values]}.from_fields(item) for key, item in {value}.items()}}"
        case Map():
            return f"dict({value})"
        case _:
            return value
