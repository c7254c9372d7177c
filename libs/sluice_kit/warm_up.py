"""Have machine code at hand before the first batch wants it."""

import numpy as np

from sluice_kit.columnar.joined_values import JoinedValues
from sluice_kit.columnar.row_reader import RowLayout
from sluice_kit.columnar.varints import zigzag_varints
from sluice_kit.kafka.partitioner import murmur2_of_many


def warm_up() -> None:
    """Compile every `compiled` function, or load what was kept: half a second, the first time some five."""
    nothing = JoinedValues([b""])
    RowLayout([]).read(nothing, nothing.starts, nothing.ends)
    murmur2_of_many([b""])
    zigzag_varints(np.zeros(1, np.int64))
