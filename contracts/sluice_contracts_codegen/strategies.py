"""Hypothesis strategies for the fields of any schema: valid ones, and any that Avro can carry."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sluice_contracts_codegen.model import (
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
from sluice_contracts_codegen.shapes import Json
from sluice_contracts_codegen.validators import rules_of

_INT = 2**31
_LONG = 2**63


def valid_fields(contracts: Contracts, schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Fields that keep every rule of ``schema``."""
    return _Maker(contracts, schema, ruled=True).record(schema.root, top=True)


def encodable_fields(contracts: Contracts, schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Fields that the codec takes, whatever the rules say; event type and version are right."""
    return _Maker(contracts, schema, ruled=False).record(schema.root, top=True)


class _Maker:
    def __init__(self, contracts: Contracts, schema: Schema, *, ruled: bool) -> None:
        self.contracts = contracts
        self.schema = schema
        self.ruled = ruled

    def record(self, record: Record, *, top: bool = False) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({field.name: self.field(field, top=top) for field in record.fields})

    def field(self, field: Field, *, top: bool) -> st.SearchStrategy[Any]:
        rules = rules_of(self.schema, field, top=top)
        if "const" in rules:
            return st.just(rules["const"])
        return self.value(field.type, rules if self.ruled else {})

    def value(self, declared: Type, rules: Json) -> st.SearchStrategy[Any]:
        match declared:
            case Nullable(inner):
                return st.none() | self.value(inner, rules)
            case Array(items):
                return st.lists(self.value(items, rules), max_size=4)
            case Map(values):
                return st.dictionaries(st.text(max_size=8), self.value(values, rules), max_size=4)
            case Record():
                return self.record(declared)
            case Primitive():
                return self.primitive(declared, rules)

    def primitive(self, declared: Primitive, rules: Json) -> st.SearchStrategy[Any]:
        match declared.kind:
            case "string":
                return self.text(rules)
            case "bytes":
                return st.binary(max_size=300)
            case "boolean":
                return st.booleans()
        limit = _INT if declared.kind == "int" else _LONG
        return st.integers(rules.get("minimum", -limit), rules.get("maximum", limit - 1))

    def text(self, rules: Json) -> st.SearchStrategy[Any]:
        if "enum" in rules:
            return st.sampled_from(rules["enum"])
        if "format" in rules:
            return st.from_regex(self.contracts.formats[rules["format"]]["pattern"], fullmatch=True)
        low = rules.get("minLength", 0)
        return st.text(min_size=low, max_size=min(rules.get("maxLength", 300), low + 300))
