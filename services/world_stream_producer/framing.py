"""From rows of a sealed world to messages of the lane: canonical envelope, stable event ids, Avro bytes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from services.world_stream_producer.core import StreamedOutput, StreamPlan
from services.world_stream_producer.pacing import Times
from sluice_contracts import contract_for
from sluice_kit.columnar import ColumnarEncoder, EventIds, message_values

TIME_COLUMN = "ts_utc"
KEY_COLUMN = "row_key"


@dataclass(frozen=True, slots=True)
class Framed:
    """Consecutive rows ready to send: one message a row, with its domain time in micros."""

    values: list[bytes]
    times: Times


def row_times(batch: pa.RecordBatch) -> Times:
    """The rows' domain times in micros."""
    return np.asarray(batch.column(TIME_COLUMN).cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)


class OutputFramer:
    """Frames the rows of one output of one run.

    The bytes depend on the plan and the row alone: no clock (`emitted_at_utc` stays null, the record's
    timestamp tells when it was sent), so a row that is sent again, at any speed, is the same message.
    """

    def __init__(self, plan: StreamPlan, output: StreamedOutput, producer: str) -> None:
        self._contract = contract_for(output.event_type, output.event_version)
        context = plan.context(producer)
        self._ids = EventIds(output.event_type, plan.manifest_fingerprint, plan.run_id, output.output_id)
        self._envelope: dict[str, Any] = {
            "event_type": output.event_type,
            "schema_version": output.event_version,
            "manifest_fingerprint": plan.manifest_fingerprint,
            "tenant": plan.tenant,
            "parameter_hash": plan.parameter_hash,
            "scenario_id": plan.scenario_id,
            "run_id": plan.run_id,
            "seed": plan.seed,
            "emitted_at_utc": None,
            "producer": producer,
            "parent_event_id": None,
            "traceparent": None if context is None else str(context),
        }
        self._encoders: dict[tuple[str, ...], ColumnarEncoder] = {}

    def frame(self, batch: pa.RecordBatch) -> Framed:
        """Frame a batch in row order. Raises ColumnarError when a column is missing or does not fit."""
        names = tuple(batch.schema.names)
        encoder = self._encoders.get(names)
        if encoder is None:
            encoder = self._encoders[names] = self._encoder(names)
        columns = {f"payload.{name}": batch.column(name) for name in names}
        columns[TIME_COLUMN] = batch.column(TIME_COLUMN)
        columns["event_id"] = self._ids.for_keys(batch.column(KEY_COLUMN))
        messages = encoder.encode(columns)
        return Framed(message_values(messages), row_times(batch))

    def _encoder(self, names: tuple[str, ...]) -> ColumnarEncoder:
        """An optional payload field that the world does not have is null in every event."""
        optional = {
            f"payload.{field['name']}": None
            for field in _payload_fields(self._contract.schema)
            if field["name"] not in names and isinstance(field["type"], list) and "null" in field["type"]
        }
        return ColumnarEncoder(self._contract.schema, self._contract.schema_id, self._envelope | optional)


def _payload_fields(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in schema["fields"]:
        if field["name"] == "payload":
            yield from field["type"]["fields"]
