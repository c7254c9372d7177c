"""Traffic in columns: whole batches are decoded, checked and hashed at once, ahead of the step.

What is not surely a valid traffic event of a data lane is prepared by itself, by the code that can say what
is wrong with it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, NamedTuple, TypeVar, cast

from services.ingestion_gate.model import TRAFFIC
from services.ingestion_gate.screening import EDGE_LANE, KEY_BYTES, Prepared, dedupe_prefix, prepare
from sluice_contracts import TOPICS, DecodeFailure
from sluice_kit.columnar import EventColumns, EventContext, read_columns
from sluice_kit.stage import Record

_Kind = TypeVar("_Kind")


class Row(NamedTuple):
    """A valid traffic event: what admission needs of it. The rest stands in `columns` at `position`."""

    columns: EventColumns
    position: int
    context: EventContext
    event_id: str
    ts_utc: int
    traceparent: str | None
    key: bytes
    payload_hash: bytes


def prepare_all(records: Sequence[Record]) -> list[Row | Prepared | DecodeFailure]:
    """What follows from the records' bytes alone, for each one.

    The edge's lane has a principal per record and is examined record by record.
    """
    found, _ = read_columns([None if record.topic == EDGE_LANE else record.value for record in records])
    rows: list[Row | None] = [None] * len(records)
    for columns in found:
        topic = columns.contract.topic
        if topic is not None and TOPICS[topic].cls == TRAFFIC:
            for place, row in zip(columns.rows, _rows(columns), strict=True):
                rows[place] = row
    return [row or prepare(record) for row, record in zip(rows, records, strict=True)]


def context_fields(context: EventContext) -> dict[str, Any]:
    """The envelope fields that a context fixes."""
    return {name: getattr(context, name) for name in context.__slots__}


def _rows(columns: EventColumns) -> list[Row]:
    event_ids = [event_id or "" for event_id in columns.texts("event_id")]
    begun = {
        context: hashlib.blake2b(
            dedupe_prefix(context.tenant, context.run_id, context.event_type), digest_size=KEY_BYTES
        )
        for context in set(columns.contexts)
    }
    keys = []
    for context, event_id in zip(columns.contexts, map(str.encode, event_ids), strict=True):
        digest = begun[context].copy()
        digest.update(event_id)
        keys.append(digest.digest())
    return tuples_of(
        Row,
        repeat(columns, len(keys)),
        range(len(keys)),
        columns.contexts,
        event_ids,
        [ts_utc or 0 for ts_utc in columns.numbers("ts_utc")],
        columns.texts("traceparent"),
        keys,
        columns.payload_hashes,
    )


def tuples_of(kind: type[_Kind], *columns: Iterable[Any]) -> list[_Kind]:
    """Named tuples from columns, without the function that each would put in front: there are millions."""
    return list(map(cast("Any", tuple.__new__), repeat(kind), zip(*columns, strict=True)))
