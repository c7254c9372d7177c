"""Events by columns: record batches to framed Avro messages, and batches of messages to checked columns.

Encoding is byte for byte what the codec writes; use it where one producer frames many rows of one run (the
World Stream Producer, backfill, benchmarks). Reading gives what the codec, the contract's check and the
payload hash give for one event after the other; use it where whole batches of one contract arrive. Behind the
gate, where events were checked, `read_flat` gives the columns alone, `read_listed` those with lists of
numbers as well, `read_beginnings` the first of them.
"""

from sluice_kit.columnar.beginnings import read_beginnings
from sluice_kit.columnar.encoder import ColumnarEncoder, message_sizes, message_values
from sluice_kit.columnar.errors import ColumnarError, ColumnValueError, UnsupportedFieldError
from sluice_kit.columnar.event_context import EventContext
from sluice_kit.columnar.event_ids import EventIds
from sluice_kit.columnar.flat_columns import FlatColumns, read_flat
from sluice_kit.columnar.listed_columns import read_listed
from sluice_kit.columnar.reader import EventColumns, read_columns

__all__ = [
    "ColumnValueError",
    "ColumnarEncoder",
    "ColumnarError",
    "EventColumns",
    "EventContext",
    "EventIds",
    "FlatColumns",
    "UnsupportedFieldError",
    "message_sizes",
    "message_values",
    "read_beginnings",
    "read_columns",
    "read_flat",
    "read_listed",
]
