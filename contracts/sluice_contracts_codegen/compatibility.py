"""BACKWARD_TRANSITIVE: a reader of any version reads what every earlier version of its type wrote."""

from __future__ import annotations

import json
from itertools import combinations

import avro.schema
from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    SchemaIncompatibilityType,
)

from sluice_contracts_codegen.model import Contracts, Schema
from sluice_contracts_codegen.shapes import Json

_Kind = SchemaIncompatibilityType
_ADVICE = {
    _Kind.reader_field_missing_default_value: "a new field needs a default (nullable, null)",
    _Kind.type_mismatch: "the type of an existing field may only be widened (int to long)",
    _Kind.name_mismatch: "a record keeps its full name in every version",
    _Kind.missing_union_branch: "a nullable field stays nullable",
    _Kind.missing_enum_symbols: "an enum keeps its symbols",
}


def why_unreadable(reader: Json, writer: Json) -> list[str]:
    """Why ``reader`` cannot read what ``writer`` wrote, one sentence a place; empty when it can."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(_parsed(reader), _parsed(writer))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    advice = sorted({_ADVICE.get(kind, kind.value.replace("_", " ")) for kind in result.incompatibilities})
    places = ", ".join(sorted(_named(reader, place) for place in result.locations))
    messages = "; ".join(sorted(result.messages))
    return [f"at {places}: {messages} ({'; '.join(advice)})"]


def version_problems(contracts: Contracts) -> list[str]:
    """Every pair of versions of one event type whose newer reader cannot read the older one's bytes."""
    problems = []
    by_type: dict[str, list[Schema]] = {}
    for schema in contracts.schemas:
        by_type.setdefault(schema.event_type, []).append(schema)
    exempt = {
        event_type
        for topic in contracts.topics
        if topic.get("compatibility") == "NONE"
        for event_type in topic["event_types"]
    }
    for event_type, versions in by_type.items():
        numbers = [schema.version for schema in versions]
        if numbers != list(range(1, len(numbers) + 1)):
            problems.append(f"{event_type}: versions {numbers} are not 1 to {len(numbers)} without a gap")
        if event_type in exempt:
            continue
        for old, new in combinations(versions, 2):
            if old.root.full_name != new.root.full_name:
                problems.append(
                    f"{new.key} is named {new.root.full_name}, but {old.key} {old.root.full_name}"
                )
            problems += [
                f"{new.key} cannot read bytes of {old.key} {reason}"
                for reason in why_unreadable(new.source, old.source)
            ]
    return problems


def _parsed(schema: Json) -> avro.schema.Schema:
    return avro.schema.parse(json.dumps(schema))


def _named(schema: Json, location: str) -> str:
    """``/fields/14/type/fields/2`` as ``payload.terminal_id``, as far as it can be followed."""
    names: list[str] = []
    node: object = schema
    for part in location.strip("/").split("/"):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
            if isinstance(node, dict) and "name" in node and "doc" in node and "fields" not in node:
                names.append(str(node["name"]))
        else:
            break
    return ".".join(names) or location
