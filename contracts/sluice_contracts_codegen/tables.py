"""Generates the tables that the distribution carries: schemas with their ids, rules, topics, principals."""

from __future__ import annotations

import pprint
from collections.abc import Iterator
from typing import Any

from sluice_contracts_codegen.model import Contracts, Nullable, Primitive, Record, Schema
from sluice_contracts_codegen.shapes import Json
from sluice_contracts_codegen.validators import HEADER, rules_of

_RULE_NAMES = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "minimum",
    "maximum": "maximum",
}


def schemas_module(contracts: Contracts) -> str:
    """The text of ``generated/schemas.py``, one row a schema version, in id order."""
    rows = [
        (
            contracts.schema_id(schema),
            schema.event_type,
            schema.version,
            schema.enveloped,
            schema.root.full_name,
            schema.max_bytes,
            schema.wire_text,
        )
        for schema in contracts.schemas
    ]
    rows.sort()
    return (
        f"{HEADER}\n# id, event type, version, enveloped, full name, max bytes, schema\n"
        f"SCHEMAS: tuple[tuple[int, str, int, bool, str, int, str], ...] = {_literal(tuple(rows))}\n"
    )


def rules_module(contracts: Contracts) -> str:
    """The text of ``generated/rules.py``: the rules of single fields, in the words of ``FieldRules``."""
    rules = {
        (schema.event_type, schema.version): dict(_ruled(contracts, schema, schema.root, "", top=True))
        for schema in contracts.schemas
    }
    return (
        f"{HEADER}\nfrom typing import Any\n\n"
        f"RULES: dict[tuple[str, int], dict[str, dict[str, Any]]] = {_literal(rules)}\n"
    )


def _ruled(
    contracts: Contracts, schema: Schema, record: Record, at: str, *, top: bool
) -> Iterator[tuple[str, Json]]:
    """Path and rules of each ruled field that every event has once."""
    for field in record.fields:
        declared = field.type
        if isinstance(declared, Record):
            yield from _ruled(contracts, schema, declared, f"{at}{field.name}.", top=False)
            continue
        inner = declared.inner if isinstance(declared, Nullable) else declared
        rules = rules_of(schema, field, top=top)
        if isinstance(inner, Primitive) and rules:
            yield f"{at}{field.name}", dict(_renamed(contracts, inner, rules))


def _renamed(contracts: Contracts, declared: Primitive, rules: Json) -> Iterator[tuple[str, Any]]:
    for rule, value in rules.items():
        if rule == "format":
            yield "pattern", contracts.formats[value]["pattern"]
        elif rule == "enum" or (rule == "const" and declared.kind == "string"):
            yield "values", tuple(value) if rule == "enum" else (value,)
        elif rule == "const":
            yield from (("minimum", value), ("maximum", value))
        else:
            yield _RULE_NAMES[rule], value


def topics_module(contracts: Contracts) -> str:
    """The text of ``generated/topics.py``: the topic and principal files as literals."""
    return (
        f"{HEADER}\nfrom typing import Any\n\n"
        f"TOPICS: tuple[dict[str, Any], ...] = {_literal(contracts.topics)}\n\n"
        f"PRINCIPALS: dict[str, dict[str, str]] = {_literal(contracts.principals)}\n"
    )


def _literal(value: object) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)
