"""Example messages of a version: recorded once, when the version is new, and never rewritten.

``full`` has every field, ``minimal`` what is required, ``edges`` the extremes. Later readers must read all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
from sluice_contracts_codegen.shapes import Json
from sluice_contracts_codegen.validators import rules_of

KINDS = ("full", "minimal", "edges")
_MOMENT = 1_767_225_600_000_000
_HEX = "0123456789abcdef" * 4
_SENSIBLE: dict[str, Any] = {
    "event_id": "9f2c" * 16,
    "parent_event_id": "41d0" * 16,
    "tenant": "default",
    "scenario_id": "baseline",
    "run_id": "run-2026-01-01",
    "seed": 42,
    "manifest_fingerprint": "5be1" * 16,
    "parameter_hash": "77aa" * 16,
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "producer": "world_stream_producer",
    "payment_id": "p-0001",
    "customer_id": "c-1001",
    "terminal_id": "t-2001",
    "amount_minor": 1250,
    "account_id": "a-3001",
    "card_id": "card-4001",
    "merchant_id": "m-5001",
    "device_id": "d-6001",
    "ip_address": "192.0.2.7",
    "uri": "artifact://facts/view.json",
    "policy": '{"traffic": "admit"}',
    "service": "ingestion_gate",
    "principal": "world_stream_producer",
    "transactional_id": "ingestion_gate-0",
    "code_rev": "0123abc",
    "lane_topic": "ingress.world_stream_producer",
    "original_lane": "ingress.world_stream_producer",
    "eb_topic": "traffic.payment",
    "topic": "traffic.payment",
    "detail": "readable words",
    "reason": "readable words",
}


def example_fields(contracts: Contracts, schema: Schema, kind: str) -> Json:
    """Fields that keep every rule, of one of ``KINDS``."""
    return _record(contracts, schema, schema.root, kind, top=True)


def _record(contracts: Contracts, schema: Schema, record: Record, kind: str, *, top: bool = False) -> Json:
    return {field.name: _field(contracts, schema, field, kind, top=top) for field in record.fields}


def _field(contracts: Contracts, schema: Schema, field: Field, kind: str, *, top: bool) -> Any:
    rules = rules_of(schema, field, top=top)
    if "const" in rules:
        return rules["const"]
    if kind == "minimal" and field.default is not REQUIRED:
        return field.default
    return _value(contracts, schema, field.type, rules, (kind, field.name))


def _value(contracts: Contracts, schema: Schema, declared: Type, rules: Json, what: tuple[str, str]) -> Any:
    kind, _ = what
    match declared:
        case Nullable(inner):
            return None if kind == "minimal" else _value(contracts, schema, inner, rules, what)
        case Array(items):
            count = {"full": 2, "minimal": 0, "edges": 70}[kind]
            return [_value(contracts, schema, items, rules, what) for _ in range(count)]
        case Map(values):
            keys = {"full": ["EUR", "USD"], "minimal": [], "edges": ["", "ключ", "z" * 200]}[kind]
            return {key: _value(contracts, schema, values, rules, what) for key in keys}
        case Record():
            return _record(contracts, schema, declared, kind)
        case Primitive():
            return _primitive(contracts, declared, rules, what)


def _primitive(contracts: Contracts, declared: Primitive, rules: Json, what: tuple[str, str]) -> Any:
    kind, name = what
    if declared.kind == "string":
        return _text(contracts, rules, what)
    if declared.kind == "bytes":
        return {"full": b"original", "minimal": b"", "edges": bytes(range(256))}[kind]
    if declared.kind == "boolean":
        return kind == "full"
    limit = 2**31 if declared.kind == "int" else 2**63
    if kind == "edges":
        return rules.get("maximum", limit - 1)
    if kind == "minimal":
        return rules.get("minimum", -limit)
    return _MOMENT if declared.logical else _SENSIBLE.get(name, max(7, rules.get("minimum", 7)))


def _text(contracts: Contracts, rules: Json, what: tuple[str, str]) -> str:
    kind, name = what
    if "enum" in rules:
        return str(rules["enum"][-1 if kind == "edges" else 0])
    if "format" in rules:
        if rules["format"] == "sha256":
            return _HEX
        example = str(contracts.formats[rules["format"]]["example"])
        if rules["format"] == "id":
            return {"full": _identifier(name), "minimal": "0", "edges": "Z" * 128}[kind]
        return str(_SENSIBLE.get(name, example)) if kind == "full" else example
    low, high = rules.get("minLength", 0), rules.get("maxLength", 300)
    if kind == "edges":
        return ("\u00fc\U0001f642\n" * 100)[: max(low, min(high, 300))]
    return str(_SENSIBLE.get(name, f"{name} 1")) if kind == "full" else "x" * low


def _identifier(name: str) -> str:
    sensible = str(_SENSIBLE.get(name, ""))
    return sensible if sensible.replace("-", "").replace("_", "").isalnum() else f"{name}-1"


def missing_examples(contracts: Contracts) -> list[tuple[Path, Schema, str]]:
    """Examples that are not recorded yet: file without suffix, schema, kind."""
    return [
        (contracts.root / "examples" / schema.key / kind, schema, kind)
        for schema in contracts.schemas
        for kind in KINDS
        if not (contracts.root / "examples" / schema.key / f"{kind}.bin").exists()
    ]


def as_json(fields: Json, payload_hash: str | None) -> str:
    """The readable side of an example; bytes are written as ``{"hex": ...}``."""

    def spelled(value: object) -> Json:
        assert isinstance(value, bytes)
        return {"hex": value.hex()}

    text = json.dumps(
        {"payload_hash": payload_hash, "fields": fields}, indent=2, ensure_ascii=False, default=spelled
    )
    return text + "\n"


def from_json(text: str) -> tuple[Json, str | None]:
    """Fields and payload hash of the readable side."""

    def spelled(node: Json) -> Any:
        return bytes.fromhex(node["hex"]) if set(node) == {"hex"} else node

    content = json.loads(text, object_hook=spelled)
    return content["fields"], content["payload_hash"]
