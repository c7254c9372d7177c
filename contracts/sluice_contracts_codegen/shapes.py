"""Expands shared shapes into the schemas that use them.

The envelope and the shared records have one home, ``contracts/shapes/``. A schema file carries the expanded
text, so that it is a complete Avro schema on its own, and ``expand`` is idempotent: a file is stale when
expanding it changes it.
"""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]
SHAPE_NAMESPACE = "sluice.shapes"


class ContractSourceError(Exception):
    """A source file under ``contracts/`` is wrong; the message says which, where and what to do."""


def expand(schema: Json, shapes: dict[str, Json], where: str) -> Json:
    """Return ``schema`` with envelope, included field lists and shared records written out.

    ``shapes`` maps ``name.vN`` to the content of ``shapes/name.vN.json``; ``where`` names the file in errors.
    """
    result = copy.deepcopy(schema)
    marks = result.get("sluice", {})
    if "envelope" in marks:
        payload = [field for field in result["fields"] if field.get("name") == "payload"]
        if len(payload) != 1 or result["fields"][-1] is not payload[0]:
            raise ContractSourceError(
                f"{where}: an enveloped schema has exactly one field 'payload', and it is last"
            )
        result["fields"] = [*_field_list(shapes, marks["envelope"], where), payload[0]]
        if "payload_includes" in marks:
            _include(payload[0]["type"], _field_list(shapes, marks["payload_includes"], where))
    expanded: Json = _expand_names(result, _shared_records(shapes, marks.get("shapes", {})), set(), where)
    return expanded


def _field_list(shapes: dict[str, Json], key: str, where: str) -> list[Json]:
    if key not in shapes:
        raise ContractSourceError(f"{where}: no shapes/{key}.json")
    return copy.deepcopy(shapes[key]["fields"])


def _include(record: Json, fields: list[Json]) -> None:
    included = {field["name"] for field in fields}
    own = [
        field for field in record["fields"] if field.get("name") not in included and "include" not in field
    ]
    record["fields"] = [*fields, *own]


def _shared_records(shapes: dict[str, Json], versions: dict[str, int]) -> dict[str, Json]:
    """Full name to definition, in the version the schema asks for (1 unless it says otherwise)."""
    records = {}
    for key, shape in shapes.items():
        version = int(key.rpartition(".v")[2])
        if "name" in shape:
            full_name = f"{shape['namespace']}.{shape['name']}"
            if versions.get(full_name, 1) == version:
                records[full_name] = shape
    return records


def _expand_names(node: Any, records: dict[str, Json], seen: set[str], where: str) -> Any:
    if isinstance(node, list):
        return [_expand_names(item, records, seen, where) for item in node]
    if isinstance(node, str):
        return _definition(node, records, seen, where) if node.startswith(SHAPE_NAMESPACE + ".") else node
    if not isinstance(node, dict):
        return node
    if node.get("type") == "record":
        missing = [key for key in ("name", "namespace", "fields") if key not in node]
        if missing:
            raise ContractSourceError(f"{where}: record {node.get('name', '?')} has no {missing[0]}")
        full_name = f"{node['namespace']}.{node['name']}"
        if node["namespace"] == SHAPE_NAMESPACE:
            return _definition(full_name, records, seen, where)
        return {**node, "fields": [_expand_field(field, records, seen, where) for field in node["fields"]]}
    return {
        key: _expand_names(value, records, seen, where) if key in {"type", "items", "values"} else value
        for key, value in node.items()
    }


def _expand_field(field: Json, records: dict[str, Json], seen: set[str], where: str) -> Json:
    return {**field, "type": _expand_names(field["type"], records, seen, where)}


def _definition(full_name: str, records: dict[str, Json], seen: set[str], where: str) -> Any:
    if full_name in seen:
        return full_name
    if full_name not in records:
        raise ContractSourceError(f"{where}: no shared record {full_name} under shapes/")
    seen.add(full_name)
    shape = records[full_name]
    return {**shape, "fields": [_expand_field(field, records, seen, where) for field in shape["fields"]]}
