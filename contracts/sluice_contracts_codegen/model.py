"""The contracts as the generators see them: schemas as a small typed tree, topics and principals as data."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sluice_contracts_codegen.shapes import ContractSourceError, Json, expand

MAX_LONG = 2**63 - 1
DEFAULT_MAX_BYTES = 1_048_576
KNOWN_RULES = {"format", "enum", "minLength", "maxLength", "minimum", "maximum"}
_PRIMITIVES = {"string", "bytes", "int", "long", "boolean"}


@dataclass(frozen=True)
class Primitive:
    """string, bytes, int, long or boolean; times are long with ``logical`` set."""

    kind: str
    logical: str | None = None


@dataclass(frozen=True)
class Nullable:
    """``["null", inner]``."""

    inner: Type


@dataclass(frozen=True)
class Array:
    """A list of one type."""

    items: Type


@dataclass(frozen=True)
class Map:
    """Text keys to values of one type."""

    values: Type


@dataclass(frozen=True)
class Record:
    """A named record."""

    full_name: str
    doc: str
    fields: tuple[Field, ...]

    def __hash__(self) -> int:
        return hash(self.full_name)

    @property
    def name(self) -> str:
        """The name without its namespace."""
        return self.full_name.rpartition(".")[2]


Type = Primitive | Nullable | Array | Map | Record


@dataclass(frozen=True)
class Field:
    """One field; ``rules`` is its ``sluice`` key, ``default`` is ``REQUIRED`` where the schema gives none."""

    name: str
    type: Type
    doc: str
    rules: Json
    default: Any


REQUIRED = object()


@dataclass(frozen=True)
class Schema:
    """One version of one event type."""

    event_type: str
    version: int
    enveloped: bool
    source: Json
    root: Record
    path: Path

    @property
    def key(self) -> str:
        """``event_type.vN``, the stem of the file."""
        return f"{self.event_type}.v{self.version}"

    @property
    def max_bytes(self) -> int:
        """Largest framed value."""
        return int(self.source["sluice"].get("max_bytes", DEFAULT_MAX_BYTES))

    @property
    def wire_text(self) -> str:
        """The schema as a registry holds it: docs and validation rules left out, so editing them is free."""
        return json.dumps(wire_form(self.source), separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """sha256 hex of ``wire_text``."""
        return hashlib.sha256(self.wire_text.encode()).hexdigest()


@dataclass(frozen=True)
class Contracts:
    """Everything under ``contracts/``, read and expanded."""

    root: Path
    schemas: tuple[Schema, ...]
    shapes: dict[str, Json]
    formats: dict[str, Json]
    topics: tuple[Json, ...]
    principals: dict[str, Json]
    lock: dict[str, Json]
    stale_schemas: dict[Path, str] = field(default_factory=dict)

    def schema_id(self, schema: Schema) -> int:
        """The pinned id of a schema."""
        return int(self.lock[schema.key]["id"])


def wire_form(node: Any) -> Any:
    """Drop ``doc`` and ``sluice`` from every schema node."""
    if isinstance(node, list):
        return [wire_form(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value if key in {"default", "symbols"} else wire_form(value)
        for key, value in node.items()
        if key not in {"doc", "sluice"}
    }


def load_contracts(root: Path) -> Contracts:
    """Read ``contracts/``; raises ContractSourceError naming the file that is wrong."""
    shapes_dir = root / "shapes"
    shapes = {path.stem: _json(path) for path in sorted(shapes_dir.glob("*.v*.json"))}
    formats = _json(shapes_dir / "formats.json")
    _check_formats(formats)
    schemas, stale = [], {}
    for path in sorted((root / "schemas").glob("*.avsc")):
        written = _json(path)
        source = expand(written, shapes, path.name)
        text = json.dumps(source, indent=2, ensure_ascii=False) + "\n"
        if text != path.read_text(encoding="utf-8"):
            stale[path] = text
        schemas.append(_schema(path, source, formats))
    topics = tuple(_yaml(path) for path in sorted((root / "topics").glob("*.yaml")))
    lock_path = root / "ids.lock.json"
    lock = _json(lock_path) if lock_path.exists() else {}
    schemas.sort(key=lambda schema: (schema.event_type, schema.version))
    principals = _yaml(root / "principals.yaml")
    return Contracts(root, tuple(schemas), shapes, formats, topics, principals, lock, stale)


def _check_formats(formats: Json) -> None:
    """Texts are checked joined by newlines, in one expression: a format must not allow any."""
    for name, spec in formats.items():
        pattern = re.compile(spec["pattern"])
        if pattern.fullmatch(spec["example"]) is None:
            raise ContractSourceError(
                f"format {name}: its example {spec['example']!r} does not match its pattern"
            )
        if any(sign in spec["pattern"] for sign in (".", "\\", "[^", "\n")) and _may_hold_newline(
            spec["pattern"]
        ):
            raise ContractSourceError(
                f"format {name}: its pattern allows a newline; name the characters it allows"
            )


def _may_hold_newline(pattern: str) -> bool:
    """Whether a dot or an excluding or abbreviated class stands outside a plain character class."""
    outside = re.sub(r"\[[^\]^\\][^\]\\]*\]", "", pattern)
    return any(sign in outside for sign in (".", "\\", "[", "\n"))


def _schema(path: Path, source: Json, formats: Json) -> Schema:
    marks = source.get("sluice", {})
    event_type, version = marks.get("event_type"), marks.get("version")
    if path.name != f"{event_type}.v{version}.avsc":
        raise ContractSourceError(
            f"{path.name}: its 'sluice' key says event_type {event_type!r}, version {version!r}"
        )
    root = _type(source, {}, path.name)
    _check_rules(source, formats, path.name)
    assert isinstance(root, Record)
    return Schema(event_type, version, "envelope" in marks, source, root, path)


def _type(node: Any, named: dict[str, Record], where: str) -> Type:
    if isinstance(node, str):
        if node in named:
            return named[node]
        if node in _PRIMITIVES:
            return Primitive(node)
        raise ContractSourceError(
            f"{where}: type {node!r} is not one that contracts use {sorted(_PRIMITIVES)}"
        )
    if isinstance(node, list):
        if len(node) != 2 or node[0] != "null":
            raise ContractSourceError(f"{where}: a union must be ['null', T], not {node!r}")
        return Nullable(_type(node[1], named, where))
    kind = node["type"]
    if kind == "array":
        return Array(_sized(_type(node["items"], named, where), where))
    if kind == "map":
        return Map(_type(node["values"], named, where))
    if kind == "record":
        return _record(node, named, where)
    if kind in _PRIMITIVES:
        return Primitive(kind, node.get("logicalType"))
    raise ContractSourceError(f"{where}: type {kind!r} is not one that contracts use")


def _record(node: Json, named: dict[str, Record], where: str) -> Record:
    full_name = f"{node['namespace']}.{node['name']}"
    fields = []
    for entry in node["fields"]:
        place = f"{where}: {full_name}.{entry.get('name')}"
        if not entry.get("doc"):
            raise ContractSourceError(f"{place} has no doc")
        default = entry.get("default", REQUIRED)
        declared = _type(entry["type"], named, place)
        if isinstance(declared, Nullable) and default is not None:
            raise ContractSourceError(f"{place} is nullable, so its default must be null")
        fields.append(Field(entry["name"], declared, entry["doc"], entry.get("sluice", {}), default))
    record = Record(full_name, node.get("doc", ""), tuple(fields))
    named[full_name] = record
    return record


def _check_rules(node: Any, formats: Json, where: str) -> None:
    """Refuse rules that no validator knows."""
    if isinstance(node, list):
        for item in node:
            _check_rules(item, formats, where)
    elif isinstance(node, dict):
        if "name" in node and "fields" not in node:
            rules = node.get("sluice", {})
            unknown = sorted(set(rules) - KNOWN_RULES)
            if unknown:
                known = ", ".join(sorted(KNOWN_RULES))
                raise ContractSourceError(f"{where}: {node['name']}: unknown rules {unknown}; known: {known}")
            if rules.get("format", next(iter(formats))) not in formats:
                raise ContractSourceError(
                    f"{where}: {node['name']}: no format {rules['format']!r} in formats.json"
                )
        for value in node.values():
            _check_rules(value, formats, where)


def _sized(items: Type, where: str) -> Type:
    """Refuse items that take no bytes: a count alone could then ask for any amount of memory."""
    if isinstance(items, Record) and not items.fields:
        raise ContractSourceError(f"{where}: array items must take at least one byte")
    return items


def _json(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractSourceError(f"{path}: {error}") from error
    assert isinstance(content, dict)
    return content


def _yaml(path: Path) -> Json:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ContractSourceError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ContractSourceError(f"{path}: expected a mapping")
    return content
