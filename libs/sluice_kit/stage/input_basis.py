"""Which input a stage has taken in: exclusive-next offsets by partition, and their digest. Pure.

A stage keeps the positions in its own state, so that the digest is that of its input before the batch,
however often the batch is stepped, and never depends on where the batch's own outputs came to stand.
"""

import hashlib
from collections.abc import Mapping, Sequence

import orjson

from sluice_kit.places import Place
from sluice_kit.stage.batching import OFFSET, WHERE
from sluice_kit.stage.model import Record

ListedPosition = tuple[str, int, int]
"""Topic, partition and next offset."""


def positions_behind(records: Sequence[Record]) -> dict[Place, int]:
    """The next offset of each partition behind `records`, which ascend in each partition."""
    last = dict(zip(map(WHERE, records), map(OFFSET, records), strict=True))
    return {place: offset + 1 for place, offset in last.items()}


def listed_positions(positions: Mapping[Place, int]) -> list[ListedPosition]:
    """`(topic, partition, next)`, sorted."""
    return [(*place, positions[place]) for place in sorted(positions)]


def positions_digest(positions: Mapping[Place, int]) -> str:
    """sha256 (hex) over sorted `[topic, partition, next]` as JSON without spaces."""
    return hashlib.sha256(orjson.dumps(listed_positions(positions))).hexdigest()
