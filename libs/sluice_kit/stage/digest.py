"""The digest of what a batch put out: what a replay is held against."""

import hashlib
from collections.abc import Sequence

import orjson

from sluice_kit.stage.model import CoordinateTail, Output, TrailingOutput


def outputs_digest(facts: Sequence[Output], trailing: Sequence[TrailingOutput], tail: CoordinateTail) -> str:
    """sha256 (hex) over topic, key and value of every output, in order, each length-framed.

    Coordinates made in the same transaction are left out; coordinates of earlier ones are in.
    """
    shape: list[object] = [
        *((out.topic, -1 if out.key is None else len(out.key), len(out.value)) for out in facts),
        *((out.topic, -1 if out.key is None else len(out.key), len(out.value)) for out in trailing),
    ]
    digest = hashlib.sha256(orjson.dumps(shape))
    digest.update(b"".join([out.key or b"" for out in facts]))
    digest.update(b"".join([out.value for out in facts]))
    digest.update(b"".join([out.key or b"" for out in trailing]))
    digest.update(b"".join([out.value for out in trailing]))
    digest.update(b"".join([tail(out.known) for out in trailing if out.known is not None]))
    return digest.hexdigest()
