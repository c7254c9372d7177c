"""Event ids of framed world events for a whole column of row keys."""

import hashlib
from binascii import hexlify
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sluice_kit.columnar.errors import ColumnValueError

_ID_SCHEME: Final = "sluice.event.v1"
_HEX_CHARS: Final = 64
_NEEDS_ESCAPE: Final = np.zeros(256, np.bool_)
_NEEDS_ESCAPE[:32] = True  # control characters
_NEEDS_ESCAPE[[ord('"'), ord("\\")]] = True


class EventIds:
    """Derives `event_id` from the row keys of one output of one run.

    The id is sha256 over the JSON array `["sluice.event.v1", event_type, manifest_fingerprint, run_id,
    output_id, row_key]`, as `sluice_contracts.event_id_for` makes it. All but the row key is hashed once.
    """

    def __init__(self, event_type: str, manifest_fingerprint: str, run_id: str, output_id: str) -> None:
        head = orjson.dumps([_ID_SCHEME, event_type, manifest_fingerprint, run_id, output_id])
        self._head = hashlib.sha256(head[:-1] + b",")

    def for_keys(self, row_keys: pa.Array) -> pa.StringArray:
        """Return one lowercase hex id a row; raises ColumnValueError on a null or a key that is no string."""
        if row_keys.null_count:
            row = pc.index(row_keys.is_null(), pa.scalar(value=True)).as_py()
            raise ColumnValueError("row_key", "null in a required field", row)
        tails = _json_tails(row_keys)
        start = self._head.copy
        digests = []
        for tail in tails:
            state = start()
            state.update(tail)
            digests.append(state.digest())
        offsets = np.arange(len(digests) + 1, dtype=np.int32) * np.int32(_HEX_CHARS)
        return pa.Array.from_buffers(
            pa.string(),
            len(digests),
            [None, pa.py_buffer(offsets), pa.py_buffer(hexlify(b"".join(digests)))],
        )


def _json_tails(row_keys: pa.Array) -> list[bytes]:
    """Return `"key"]` of each key as JSON bytes."""
    kind = row_keys.type.value_type if pa.types.is_dictionary(row_keys.type) else row_keys.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise ColumnValueError("row_key", f"a column of strings is wanted, this one is {kind}")
    texts = row_keys.cast(pa.string())
    if _has_escapes(texts):
        return [orjson.dumps(key) + b"]" for key in texts.to_pylist()]
    quote = pa.scalar(b'"', pa.binary())
    tails = pc.binary_join_element_wise(
        quote, texts.cast(pa.binary()), pa.scalar(b'"]', pa.binary()), pa.scalar(b"", pa.binary())
    )
    values: list[bytes] = tails.to_numpy(zero_copy_only=False).tolist()
    return values


def _has_escapes(texts: pa.StringArray) -> bool:
    """Tell whether any key holds a character that JSON writes with a backslash."""
    _, offsets, data = texts.buffers()
    if data is None:
        return False
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    octets = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]] if len(bounds) else np.empty(0, np.uint8)
    return bool(_NEEDS_ESCAPE[octets].any())
