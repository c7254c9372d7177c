"""The shape of an index row: a 16-byte key, then the fixed-width fields its user wants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

KEY_BYTES = 16
KEY_FIELD = "key"

Rows: TypeAlias = npt.NDArray[np.void]
Words: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = npt.NDArray[np.int64]


class RowLayout:
    """A numpy structured dtype whose first field is ``("key", "V16")``.

    Keys are expected to be digests: they need not be secret, but an even spread over their first eight
    bytes is what
    keeps look-ups fast. A skewed key set stays correct and gets slower.

    Raises:
        ValueError: the dtype has no leading 16-byte ``key`` field, or holds Python objects.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        fields = self.dtype.fields
        if fields is None or KEY_FIELD not in fields or fields[KEY_FIELD][0] != np.dtype(f"V{KEY_BYTES}"):
            raise ValueError(f"an index row needs a field ('{KEY_FIELD}', 'V{KEY_BYTES}'), got {self.dtype}")
        if fields[KEY_FIELD][1] != 0:
            raise ValueError(f"the '{KEY_FIELD}' field must come first in {self.dtype}")
        if self.dtype.hasobject:
            raise ValueError(f"an index row is fixed-width bytes; {self.dtype} holds Python objects")
        self.row_bytes: int = self.dtype.itemsize

    def describe(self) -> tuple[tuple[str, str, str], ...]:
        """The dtype as plain data, for a manifest or a file header."""
        fields: Mapping[str, tuple[Any, ...]] = self.dtype.fields or {}
        return tuple((name, field[0].str, str(field[1])) for name, field in fields.items())

    def as_bytes(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """The rows as a (count, row_bytes) matrix of bytes, without copying contiguous rows."""
        return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), self.row_bytes)

    def key_words(self, rows: Rows) -> Words:
        """The keys of the rows as a (count, 2) matrix of big-endian words."""
        keys = np.ascontiguousarray(self.as_bytes(rows)[:, :KEY_BYTES])
        return keys.view(">u8").astype(np.uint64)

    def keys(self, rows: Rows) -> list[bytes]:
        """The keys of the rows, 16 bytes each."""
        block = np.ascontiguousarray(self.as_bytes(rows)[:, :KEY_BYTES]).tobytes()
        return [block[at : at + KEY_BYTES] for at in range(0, len(block), KEY_BYTES)]

    def empty(self) -> Rows:
        """No rows, of this layout."""
        return np.empty(0, dtype=self.dtype)


def words_of_keys(keys: list[bytes]) -> Words:
    """The keys as a (count, 2) matrix of big-endian words; column 0 is the prefix segments sort by.

    Raises:
        ValueError: the keys are not 16 bytes each.
    """
    block = b"".join(keys)
    if len(block) != KEY_BYTES * len(keys):
        raise ValueError(f"index keys are {KEY_BYTES} bytes each")
    return np.frombuffer(block, dtype=">u8").astype(np.uint64).reshape(len(keys), 2)
