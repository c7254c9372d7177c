"""The digest of what a batch put out: what a replay is held against."""

import hashlib
from array import array
from collections.abc import Sequence

from sluice_kit.stage.model import CoordinateTails, Output, TrailingOutput

NO_KEY = 0xFFFF_FFFF


def outputs_digest(
    facts: Sequence[Output], trailing: Sequence[TrailingOutput], tails: CoordinateTails
) -> str:
    """sha256 (hex) over topic, key and value of every output, in order, each framed by its length.

    Coordinates made in the same transaction are left out; coordinates of earlier ones are in.
    """
    digest = hashlib.sha256()
    for outputs in (facts, trailing):
        topics, keys, values, *_ = zip(*outputs, strict=True) if outputs else ((), (), ())
        digest.update("\n".join(topics).encode())
        digest.update(array("I", map(len, values)).tobytes())
        lengths = [NO_KEY if key is None else len(key) for key in keys] if None in keys else map(len, keys)
        digest.update(array("I", lengths).tobytes())
        digest.update(b"".join(filter(None, keys)))
        digest.update(b"".join(values))
    digest.update(b"".join(tails([known for _, _, _, _, known in trailing if known is not None])))
    return digest.hexdigest()
