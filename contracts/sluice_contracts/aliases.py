"""Old names of envelope fields, and the one place where they are turned into ours.

Applied at the edges only (HTTP, imports, legacy pull), before an event is encoded: nothing behind an edge
knows an old name. The table is the documented home; ``docs/naming-aliases.md`` is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

ENVELOPE_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "ts": "ts_utc",
        "timestamp": "ts_utc",
        "event_time": "ts_utc",
        "emitted_at": "emitted_at_utc",
        "sent_at": "emitted_at_utc",
        "world_fingerprint": "manifest_fingerprint",
        "world_hash": "manifest_fingerprint",
        "manifest_hash": "manifest_fingerprint",
        "param_hash": "parameter_hash",
        "params_hash": "parameter_hash",
        "scenario": "scenario_id",
        "run": "run_id",
        "id": "event_id",
        "type": "event_type",
        "version": "schema_version",
        "event_version": "schema_version",
        "tenant_id": "tenant",
        "world_seed": "seed",
        "source": "producer",
        "parent_id": "parent_event_id",
        "causation_id": "parent_event_id",
        "trace_parent": "traceparent",
        "data": "payload",
    }
)
"""Old name to canonical name, for the fields of the envelope. Payload fields have no aliases."""


class AliasConflict(NamedTuple):
    """Two names of one field with different values."""

    alias: str
    canonical: str


def canonical_names(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[AliasConflict, ...]]:
    """``fields`` under canonical names, and the conflicts.

    A canonical name wins over its alias; where the values differ the pair is a conflict, which the edge must
    refuse: it cannot know which one is meant. Names that are neither stay as they are.
    """
    renamed = {name: value for name, value in fields.items() if name not in ENVELOPE_ALIASES}
    origin = dict.fromkeys(renamed, "")
    conflicts = []
    for alias, value in fields.items():
        canonical = ENVELOPE_ALIASES.get(alias)
        if canonical is None:
            continue
        if canonical not in renamed:
            renamed[canonical], origin[canonical] = value, alias
        elif renamed[canonical] != value:
            conflicts.append(AliasConflict(alias, origin[canonical] or canonical))
    return renamed, tuple(conflicts)
