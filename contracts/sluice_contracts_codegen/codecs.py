"""Generates ``generated/codecs.py``: straight-line Avro readers and writers, one pair a schema version.

A reader walks the bytes with one index and never asks for memory that the bytes do not fill: a text is a
slice, an array grows item by item. Whatever is wrong ends in an exception or in an end that is not the end of
the bytes, and ``sluice_contracts.diagnosis`` then says what. A writer joins text in which each character
stands for one byte.
"""

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
from sluice_contracts_codegen.validators import HEADER, symbol

_STEP = "    "


def codecs_module(contracts: Contracts) -> str:
    """The text of ``generated/codecs.py``."""
    out = [
        HEADER,
        "from __future__ import annotations\n",
        "from collections.abc import Callable, Mapping",
        "from typing import Any\n",
        "from sluice_contracts.wire import (",
        "    HALF, NUMBER, SIGNED, MalformedError, count_at, int_at, long_at, moment, text_bounds,",
        ")\n",
        "_from_bytes = int.from_bytes\n",
    ]
    for schema in contracts.schemas:
        out += _reader(f"read_{symbol(schema)}", schema.root)
        frame = (b"\x00" + contracts.schema_id(schema).to_bytes(4, "big")).decode("latin-1")
        out += _writer(f"write_{symbol(schema)}", schema, frame)
    out.append("\n\nREADERS: dict[tuple[str, int], Callable[[bytes], tuple[dict[str, Any], int]]] = {")
    out += [f'    ("{s.event_type}", {s.version}): read_{symbol(s)},' for s in contracts.schemas]
    out.append("}\n\nWRITERS: dict[tuple[str, int], Callable[[Mapping[str, Any]], bytes]] = {")
    out += [f'    ("{s.event_type}", {s.version}): write_{symbol(s)},' for s in contracts.schemas]
    out.append("}")
    return "\n".join(out) + "\n"


def _reader(name: str, root: Record) -> list[str]:
    out = [
        f"\n\ndef {name}(b: bytes) -> tuple[dict[str, Any], int]:",
        '    t = b.decode("latin-1")',
        "    i = 5",
    ]
    for field in root.fields:
        out += _read(field.type, f"f_{field.name}", _STEP)
    out.append(f"    return {_built(root, 'f')}, i")
    return out


def _built(record: Record, base: str) -> str:
    """The dict display of a record whose fields were read into variables."""
    parts = []
    for field in record.fields:
        variable = f"{base}_{field.name}"
        value = _built(field.type, variable) if isinstance(field.type, Record) else variable
        parts.append(f'"{field.name}": {value}')
    return "{" + ", ".join(parts) + "}"


def _read(declared: Type, variable: str, indent: str) -> list[str]:
    """Statements that read ``declared`` at ``i`` into ``variable`` (a record: into a variable a field)."""
    match declared:
        case Primitive():
            return [indent + line for line in _read_primitive(declared, variable)]
        case Record():
            return [
                line
                for field in declared.fields
                for line in _read(field.type, f"{variable}_{field.name}", indent)
            ]
        case Nullable(inner):
            body = _read(inner, variable, indent + _STEP)
            if isinstance(inner, Record):
                body.append(f"{indent}{_STEP}{variable}: Any = {_built(inner, variable)}")
            return [
                f"{indent}n = b[i]",
                f"{indent}i += 1",
                f"{indent}if n == 2:",
                *body,
                f"{indent}elif n:",
                f"{indent}    raise MalformedError",
                f"{indent}else:",
                f"{indent}    {variable} = None",
            ]
        case Array(items):
            item = variable + "_item"
            built = _built(items, item) if isinstance(items, Record) else item
            return _blocks(variable, "[]", indent, [*_read(items, item, ""), f"{variable}.append({built})"])
        case Map(values):
            item, key = variable + "_item", variable + "_key"
            built = _built(values, item) if isinstance(values, Record) else item
            body = [
                *_read(Primitive("string"), key, ""),
                *_read(values, item, ""),
                f"{variable}[{key}] = {built}",
            ]
            return _blocks(variable, "{}", indent, body)


def _blocks(variable: str, empty: str, indent: str, body: list[str]) -> list[str]:
    """The block loop of arrays and maps; a count of 0 ends it."""
    count = variable + "_count"
    return [
        f"{indent}{variable}: Any = {empty}",
        f"{indent}{count}, i = count_at(b, i)",
        f"{indent}while {count}:",
        f"{indent}    for _ in range({count}):",
        *(f"{indent}        {line}" for line in body),
        f"{indent}    {count}, i = count_at(b, i)",
    ]


def _read_primitive(declared: Primitive, variable: str) -> list[str]:
    if declared.kind in {"string", "bytes"}:
        bounds = [
            "n = b[i]",
            "if n < 128:",
            "    s = i + 1",
            "    i = s + HALF[n]",
            "elif b[i + 1] == 1:",
            "    s = i + 2",
            "    i = s + HALF[n]",
            "else:",
            "    s, i = text_bounds(b, i)",
        ]
        if declared.kind == "bytes":
            return [*bounds, f"{variable} = b[s:i]"]
        return [
            *bounds,
            f"{variable} = t[s:i]",
            f"if not {variable}.isascii():",
            f'    {variable} = str(b[s:i], "utf-8")',
        ]
    if declared.kind == "boolean":
        return ["n = b[i]", "i += 1", "if n > 1:", "    raise MalformedError", f"{variable} = n == 1"]
    slow = "int_at" if declared.kind == "int" else "long_at"
    if declared.logical == "timestamp-micros":
        return _read_moment(variable)
    return [
        "n = b[i]",
        "if n < 128:",
        "    i += 1",
        f"    {variable} = SIGNED[n]",
        "else:",
        f"    {variable}, i = {slow}(b, i)",
    ]


def _read_moment(variable: str) -> list[str]:
    """Microseconds of our times take 8 bytes; their 7-bit groups are joined in pairs, three times."""
    return [
        'n = _from_bytes(b[i : i + 8], "little")',
        "if n & 0x8080808080808080 == 0x0080808080808080:",
        "    i += 8",
        "    n &= 0x7F7F7F7F7F7F7F7F",
        "    n = (n & 0x007F007F007F007F) | ((n & 0x7F007F007F007F00) >> 1)",
        "    n = (n & 0x00003FFF00003FFF) | ((n & 0x3FFF00003FFF0000) >> 2)",
        "    n = (n & 0x0FFFFFFF) | ((n >> 4) & 0xFFFFFFF0000000)",
        f"    {variable} = (n >> 1) ^ -(n & 1)",
        "else:",
        f"    {variable}, i = long_at(b, i)",
    ]


def _writer(name: str, schema: Schema, frame: str) -> list[str]:
    out = [f"\n\ndef {name}(f: Mapping[str, Any]) -> bytes:"]
    if schema.enveloped:
        out += [
            f'    if f["event_type"] != "{schema.event_type}" or f["schema_version"] != {schema.version}:',
            f'        raise ValueError("not {schema.event_type} version {schema.version}")',
        ]
    statements, parts = _write_record(schema.root, "f", _STEP)
    out += statements
    joined = ",\n            ".join([ascii(frame).replace("'", '"'), *parts])
    out.append(f'    return "".join(\n        (\n            {joined},\n        )\n    ).encode("latin-1")')
    return out


def _write_record(record: Record, base: str, indent: str) -> tuple[list[str], list[str]]:
    """Statements that prepare the fields of mapping ``base``, and the expressions to join, in order."""
    statements: list[str] = []
    parts: list[str] = []
    for field in record.fields:
        variable = f"{base}_{field.name}"
        statements.append(f"{indent}{variable} = {_fetched(field, base)}")
        prepare, made = _write(field.type, variable, indent)
        statements += prepare
        parts += made
    return statements, parts


def _fetched(field: Field, base: str) -> str:
    if field.default is REQUIRED:
        return f'{base}["{field.name}"]'
    if field.default is None:
        return f'{base}.get("{field.name}")'
    return f'{base}.get("{field.name}", {field.default!r})'


def _write(declared: Type, variable: str, indent: str) -> tuple[list[str], list[str]]:
    match declared:
        case Primitive():
            return _write_primitive(declared, variable, indent)
        case Record():
            return _write_record(declared, variable, indent)
        case Nullable(inner):
            prepare, made = _write(inner, variable, indent + _STEP)
            if made == [f"NUMBER[{variable}]"]:
                return [], [f'"\\x00" if {variable} is None else "\\x02" + NUMBER[{variable}]']
            joined = " + ".join(['"\\x02"', *made]) if len(made) < 4 else _joined(['"\\x02"', *made])
            return [
                f"{indent}if {variable} is None:",
                f'{indent}    {variable}_out = "\\x00"',
                f"{indent}else:",
                *prepare,
                f"{indent}    {variable}_out = {joined}",
            ], [f"{variable}_out"]
        case Array(items):
            return _write_blocks(items, variable, indent, keyed=False)
        case Map(values):
            return _write_blocks(values, variable, indent, keyed=True)


def _joined(parts: list[str]) -> str:
    return f'"".join(({", ".join(parts)}))'


def _write_blocks(inner: Type, variable: str, indent: str, *, keyed: bool) -> tuple[list[str], list[str]]:
    """One block and its end; the keys of a map in order, so that equal maps are equal bytes."""
    item, key, parts = variable + "_item", variable + "_key", variable + "_parts"
    deep = indent + _STEP * 2
    prepare, made = _write(inner, item, deep)
    head = f"for {item} in {variable}:"
    if keyed:
        key_prepare, key_made = _write(Primitive("string"), key, deep)
        head = f"for {key}, {item} in sorted({variable}.items()):"
        prepare, made = key_prepare + prepare, key_made + made
    return [
        f'{indent}{variable}_out = "\\x00"',
        f"{indent}if {variable}:",
        f"{indent}    {parts} = [NUMBER[len({variable})]]",
        f"{indent}    {head}",
        *prepare,
        f"{deep}{parts} += ({', '.join(made)},)",
        f'{indent}    {parts}.append("\\x00")',
        f'{indent}    {variable}_out = "".join({parts})',
    ], [f"{variable}_out"]


def _write_primitive(declared: Primitive, variable: str, indent: str) -> tuple[list[str], list[str]]:
    if declared.kind == "string":
        return [
            f"{indent}if not {variable}.isascii():",
            f'{indent}    {variable} = {variable}.encode().decode("latin-1")',
        ], [f"NUMBER[len({variable})]", variable]
    if declared.kind == "bytes":
        return [f'{indent}{variable} = {variable}.decode("latin-1")'], [f"NUMBER[len({variable})]", variable]
    if declared.kind == "boolean":
        return [], [f'"\\x01" if {variable} else "\\x00"']
    if declared.logical == "timestamp-micros":
        return [], [f"moment({variable})"]
    if declared.kind == "int":
        return [
            f"{indent}if not -2147483648 <= {variable} <= 2147483647:",
            f"{indent}    raise OverflowError",
        ], [f"NUMBER[{variable}]"]
    return [], [f"NUMBER[{variable}]"]
