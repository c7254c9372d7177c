"""Values of a batch joined to one buffer, for reading the same place of all of them at once."""

from collections.abc import Sequence
from typing import Final, cast

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Windows = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

FRAME: Final = 5
"""Bytes in front of a value: magic and the id of its schema."""
WINDOW_BYTES: Final = 8
LONGEST_VALUE: Final = 16_384
"""Longer values are left out: they are rare, cost little more read alone, and would only take memory here."""

_PADDING: Final = b"\x00" * WINDOW_BYTES
_LOW_BYTES: Final = np.array([(1 << 8 * count) - 1 for count in range(WINDOW_BYTES + 1)], np.uint64)


class JoinedValues:
    """`octets` of the values one behind the other: value i from `starts[i]` to `ends[i]`, end excluded.

    `array` is the same as numbers, `text` with a character for each byte (latin-1). A None or a long value
    takes no bytes.
    """

    def __init__(self, values: Sequence[bytes | None]) -> None:
        kept = cast("Sequence[bytes]", values) if all(values) else [value or b"" for value in values]
        lengths = np.fromiter(map(len, kept), np.int64, len(kept))
        if np.count_nonzero(lengths > LONGEST_VALUE):
            kept = [value if len(value) <= LONGEST_VALUE else b"" for value in kept]
            lengths[lengths > LONGEST_VALUE] = 0
        self.octets = b"".join([*kept, _PADDING])
        self.text = self.octets.decode("latin-1")
        self.ends: Positions = np.cumsum(lengths)
        self.starts: Positions = self.ends - lengths
        self.array: Octets = np.frombuffer(self.octets, np.uint8)
        last = len(self.octets) - WINDOW_BYTES
        self._windows: Windows = np.ndarray((last + 1,), "<u8", self.octets, strides=(1,))
        self._last = last

    def pieces(self, positions: Positions) -> list[bytes]:
        """The values at some positions."""
        bounds = zip(self.starts[positions].tolist(), self.ends[positions].tolist(), strict=True)
        return [self.octets[start:end] for start, end in bounds]

    def short_windows_at(self, places: Positions, lengths: Positions) -> Windows:
        """The first `lengths` (0 to 8) bytes from each place, the first one lowest, zeros in the rest.

        A place behind the end reads zeros.
        """
        return self._windows[np.minimum(places, self._last)] & _LOW_BYTES.take(lengths)
