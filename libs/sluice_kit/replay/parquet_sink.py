"""Replayed records as Parquet: a file an event type, columns of envelope and payload."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice_contracts import Contract, DecodeFailure, decode
from sluice_kit.replay.ranges import ReplayError
from sluice_kit.replay.reading import ReplayBatch

UNDECODABLE = "undecodable"
_PLACE = [
    pa.field("topic", pa.string(), nullable=False),
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("key", pa.binary()),
]
_SIMPLE = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "bytes": pa.binary(),
}


class ParquetSink:
    """Writes `<folder>/<event type>.v<version>.parquet`, and `undecodable.parquet` for what does not decode.

    Columns: topic, partition, offset, key, then the envelope's fields, then the payload's as `payload` (a
    struct). The folder must be empty or absent. Files appear under their names when `close` has completed
    them.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise ReplayError("TARGET_NOT_EMPTY", f"{folder} is not empty; name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def take(self, batch: ReplayBatch) -> None:
        """See Sink."""
        rows: dict[str, list[dict[str, Any]]] = {}
        schemas: dict[str, pa.Schema] = {}
        for message, key, value in zip(batch.messages, batch.keys, batch.values, strict=True):
            place = {
                "topic": batch.topic,
                "partition": batch.partition,
                "offset": message.offset(),
                "key": key,
            }
            decoded = decode(value)
            if isinstance(decoded, DecodeFailure):
                name, fields = UNDECODABLE, {"value": value, "code": decoded.code, "detail": decoded.detail}
                schemas.setdefault(name, _undecodable_schema())
            else:
                name, fields = f"{decoded.contract.event_type}.v{decoded.contract.version}", decoded.fields
                if name not in schemas:
                    schemas[name] = event_schema(decoded.contract)
            rows.setdefault(name, []).append(place | fields)
        for name, part in rows.items():
            self._writer(name, schemas[name]).write_batch(
                pa.RecordBatch.from_pylist(part, schema=schemas[name])
            )

    def close(self) -> None:
        """See Sink."""
        for name, writer in self._writers.items():
            writer.close()
            (self._folder / f".{name}.partial").rename(self._folder / f"{name}.parquet")

    def _writer(self, name: str, schema: pa.Schema) -> pq.ParquetWriter:
        writer = self._writers.get(name)
        if writer is None:
            writer = self._writers[name] = pq.ParquetWriter(
                self._folder / f".{name}.partial", schema, compression="zstd"
            )
        return writer


def event_schema(contract: Contract) -> pa.Schema:
    """Arrow schema of an event type: its place on the bus, then the fields of its Avro schema."""
    named: dict[str, pa.DataType] = {}
    return pa.schema([*_PLACE, *(_field(field, named) for field in contract.schema["fields"])])


def _undecodable_schema() -> pa.Schema:
    return pa.schema(
        [
            *_PLACE,
            pa.field("value", pa.binary()),
            pa.field("code", pa.string()),
            pa.field("detail", pa.string()),
        ]
    )


def _field(field: dict[str, Any], named: dict[str, pa.DataType]) -> pa.Field:
    avro = field["type"]
    nullable = isinstance(avro, list)
    return pa.field(field["name"], _arrow(avro, named), nullable=nullable)


def _arrow(avro: Any, named: dict[str, pa.DataType]) -> pa.DataType:
    if isinstance(avro, list):
        return _arrow(next(branch for branch in avro if branch != "null"), named)
    if isinstance(avro, str):
        return _SIMPLE[avro] if avro in _SIMPLE else named[avro]
    if avro.get("logicalType") == "timestamp-micros":
        return pa.timestamp("us", tz="UTC")
    match avro["type"]:
        case "record":
            made = pa.struct([_field(field, named) for field in avro["fields"]])
            named[f"{avro['namespace']}.{avro['name']}"] = named[avro["name"]] = made
            return made
        case "array":
            return pa.list_(_arrow(avro["items"], named))
        case "map":
            return pa.map_(pa.string(), _arrow(avro["values"], named))
    return _SIMPLE[avro["type"]]
