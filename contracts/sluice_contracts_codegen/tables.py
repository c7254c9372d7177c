"""Generates the tables that the distribution carries: schemas with their ids, topics, principals."""

from __future__ import annotations

import pprint

from sluice_contracts_codegen.model import Contracts
from sluice_contracts_codegen.validators import HEADER


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


def topics_module(contracts: Contracts) -> str:
    """The text of ``generated/topics.py``: the topic and principal files as literals."""
    return (
        f"{HEADER}\nfrom typing import Any\n\n"
        f"TOPICS: tuple[dict[str, Any], ...] = {_literal(contracts.topics)}\n\n"
        f"PRINCIPALS: dict[str, dict[str, str]] = {_literal(contracts.principals)}\n"
    )


def _literal(value: object) -> str:
    return pprint.pformat(value, width=110, sort_dicts=False)
