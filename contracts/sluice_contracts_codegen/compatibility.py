"""BACKWARD_TRANSITIVE: a reader of any version reads what every earlier version of its type wrote."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import avro.schema
from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    SchemaIncompatibilityType,
)

from sluice_contracts_codegen.model import Contracts, Schema
from sluice_contracts_codegen.shapes import Json

Named = dict[str, Json]
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
    whole = _judged(reader, writer)
    if whole is None:
        return []
    return _per_field(reader, writer, "", ({}, {})) or [f"at the record itself: {whole}"]


def _per_field(reader: Json, writer: Json, at: str, named: tuple[Named, Named]) -> list[str]:
    """A sentence for each field that cannot be read, found by judging one field at a time.

    The checker itself names no place where the writer's type is a union.
    """
    written = {field["name"]: field for field in writer["fields"]}
    reasons = []
    for field in reader["fields"]:
        ours = _inlined(field, named[0])
        theirs = _inlined(written[field["name"]], named[1]) if field["name"] in written else None
        place = f"{at}{field['name']}"
        if (
            theirs
            and _is_record(ours)
            and _is_record(theirs)
            and ours["type"]["name"] == theirs["type"]["name"]
        ):
            reasons += _per_field(ours["type"], theirs["type"], f"{place}.", named)
            continue
        verdict = _judged(_probe(ours), _probe(theirs))
        if verdict:
            reasons.append(f"at {place}: {verdict}")
    return reasons


def _judged(reader: Json, writer: Json) -> str | None:
    """What the checker says against a pair of schemas, with advice; None when nothing."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(_parsed(reader), _parsed(writer))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return None
    advice = {_ADVICE.get(kind, kind.value.replace("_", " ")) for kind in result.incompatibilities}
    messages = sorted(result.messages)
    if any(message.endswith("writer type: null") for message in messages):
        advice = {"a nullable field stays nullable"}
    return f"{'; '.join(messages)} ({'; '.join(sorted(advice))})"


def _probe(field: Json | None) -> Json:
    return {"type": "record", "name": "probe", "fields": [field] if field else []}


def _is_record(field: Json) -> bool:
    return isinstance(field["type"], dict) and field["type"]["type"] == "record"


def _inlined(field: Json, named: Named) -> Json:
    """The field with references to records replaced by their definition, once each."""
    seen: set[str] = set()

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if isinstance(node, str):
            return resolved(named[node]) if node in named and node not in seen else node
        if isinstance(node, dict) and node.get("type") == "record":
            full_name = f"{node['namespace']}.{node['name']}"
            named[full_name] = node
            if full_name in seen:
                return full_name
            seen.add(full_name)
            return {
                **node,
                "fields": [{**inner, "type": resolved(inner["type"])} for inner in node["fields"]],
            }
        if isinstance(node, dict):
            return {k: resolved(v) if k in {"type", "items", "values"} else v for k, v in node.items()}
        return node

    return {**field, "type": resolved(field["type"])}


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
