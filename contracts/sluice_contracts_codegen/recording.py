"""Records the example messages that are missing, with the codec that was just generated."""

from __future__ import annotations

from pathlib import Path

from sluice_contracts import encode, payload_hash
from sluice_contracts_codegen.examples import as_json, example_fields, missing_examples
from sluice_contracts_codegen.model import Contracts


def record_examples(contracts: Contracts) -> list[Path]:
    """Write every missing example, bytes and JSON; returns the files."""
    written = []
    for stem, schema, kind in missing_examples(contracts):
        fields = example_fields(contracts, schema, kind)
        stem.parent.mkdir(parents=True, exist_ok=True)
        binary, readable = stem.with_suffix(".bin"), stem.with_suffix(".json")
        binary.write_bytes(encode(schema.event_type, schema.version, fields))
        hashed = payload_hash(fields).hex() if schema.enveloped else None
        readable.write_text(as_json(fields, hashed), encoding="utf-8")
        written += [binary, readable]
    return written
