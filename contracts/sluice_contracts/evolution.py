"""Reading an event of an older version as a newer one, as Avro resolves schemas."""

from __future__ import annotations

from typing import Any

from sluice_contracts.codec import Contract, Decoded

Json = dict[str, Any]


def read_as(decoded: Decoded, reader: Contract) -> Decoded:
    """The event as ``reader`` sees it: fields it added take their default, fields it dropped are gone.

    ``schema_version`` stays what the writer wrote, and so does the payload hash, which is always taken from
    ``decoded``. Raises ValueError when the contracts are of two event types, or when ``reader`` has a field
    without default that the writer did not know (contracts never do that).
    """
    if reader.event_type != decoded.contract.event_type:
        raise ValueError(f"{decoded.contract!r} cannot be read as {reader!r}")
    if reader is decoded.contract:
        return decoded
    return Decoded(reader, _project(decoded.fields, reader.schema, {}, reader.event_type))


def _project(value: Any, node: Any, named: dict[str, Json], place: str) -> Any:
    if isinstance(node, str) and node in named:
        node = named[node]
    if isinstance(node, list):
        return None if value is None else _project(value, node[1], named, place)
    if not isinstance(node, dict):
        return value
    match node["type"]:
        case "record":
            named[f"{node['namespace']}.{node['name']}"] = node
            return {
                field["name"]: _project(
                    _found(value, field, place), field["type"], named, f"{place}.{field['name']}"
                )
                for field in node["fields"]
            }
        case "array":
            return [_project(item, node["items"], named, place) for item in value]
        case "map":
            return {key: _project(item, node["values"], named, place) for key, item in value.items()}
        case _:
            return value


def _found(value: Json, field: Json, place: str) -> Any:
    if field["name"] in value:
        return value[field["name"]]
    if "default" not in field:
        raise ValueError(f"{place}.{field['name']} has no default, and the writer did not know it")
    return field["default"]
