"""Columnar encoding: record batches to framed Avro messages, byte for byte what the codec writes.

Use it where one producer frames many rows of one run (the World Stream Producer, backfill, benchmarks).
"""

from sluice_kit.columnar.encoder import ColumnarEncoder, message_sizes, message_values
from sluice_kit.columnar.errors import ColumnarError, ColumnValueError, UnsupportedFieldError
from sluice_kit.columnar.event_ids import EventIds

__all__ = [
    "ColumnValueError",
    "ColumnarEncoder",
    "ColumnarError",
    "EventIds",
    "UnsupportedFieldError",
    "message_sizes",
    "message_values",
]
