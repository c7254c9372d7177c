"""What batches added to one run's graph: how it is applied, sealed into a file, merged and read back.

A file is one line of JSON, which names the arrays and their lengths, and the arrays behind it. Texts stand
in one array of bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from sluice_graph.scope_graph import NEVER_SEEN, Int64, LabelRecord
from sluice_kit.artifacts import ArtifactError

FORMAT: Final = 1
Array = npt.NDArray[Any]
Records = dict[str, LabelRecord]


@dataclass(slots=True)
class Additions:
    """Entities, edges, events by entity, marks and labels, in the order in which they came.

    Marks and disputes are the newest counts of the entities that changed.
    """

    names: list[str] = field(default_factory=list)
    kinds: bytes = b""
    left: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    right: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    joins: bytes = b""
    touched: list["Touched"] = field(default_factory=list)
    marks: dict[int, int] = field(default_factory=dict)
    disputes: dict[int, int] = field(default_factory=dict)
    labels: Records = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Touched:
    """Events by entity: how many, first and last `ts_utc`."""

    entities: Int64
    events: Int64
    first: Int64
    last: Int64

    @classmethod
    def summed(cls, parts: Sequence["Touched"]) -> "Touched":
        """Several, one row an entity, ascending."""
        entities = np.concatenate([part.entities for part in parts]) if parts else np.zeros(0, np.int64)
        distinct, place = np.unique(entities, return_inverse=True)
        events = np.zeros(len(distinct), np.int64)
        first, last = np.full(len(distinct), NEVER_SEEN), np.full(len(distinct), -1)
        if parts:
            np.add.at(events, place, np.concatenate([part.events for part in parts]))
            np.minimum.at(first, place, np.concatenate([part.first for part in parts]))
            np.maximum.at(last, place, np.concatenate([part.last for part in parts]))
        return cls(distinct, events, first, last)


def merged(parts: Sequence[Additions], horizon: int) -> Additions:
    """Several as one; labels observed before `horizon` are left out."""
    whole = Additions()
    whole.names = [name for part in parts for name in part.names]
    whole.kinds = b"".join(part.kinds for part in parts)
    whole.left = np.concatenate([whole.left, *(part.left for part in parts)])
    whole.right = np.concatenate([whole.right, *(part.right for part in parts)])
    whole.joins = b"".join(part.joins for part in parts)
    whole.touched = [Touched.summed([touched for part in parts for touched in part.touched])]
    for part in parts:
        whole.marks |= part.marks
        whole.disputes |= part.disputes
        whole.labels |= part.labels
    whole.labels = {
        payment: record for payment, record in whole.labels.items() if record.observed_time >= horizon
    }
    return whole


def to_bytes(additions: Additions) -> bytes:
    """The content of a file."""
    texts = [name.encode() for name in additions.names]
    touched = Touched.summed(additions.touched)
    arrays: list[tuple[str, Array]] = [
        ("lengths", np.array([len(text) for text in texts], np.int32)),
        ("texts", np.frombuffer(b"".join(texts), np.uint8)),
        ("kinds", np.frombuffer(additions.kinds, np.uint8)),
        ("left", additions.left.astype(np.int32)),
        ("right", additions.right.astype(np.int32)),
        ("joins", np.frombuffer(additions.joins, np.uint8)),
        ("touched", touched.entities.astype(np.int32)),
        ("events", touched.events),
        ("first", touched.first),
        ("last", touched.last),
    ]
    head = {
        "format": FORMAT,
        "arrays": [[name, array.dtype.str, len(array)] for name, array in arrays],
        "marks": sorted(additions.marks.items()),
        "disputes": sorted(additions.disputes.items()),
        "labels": sorted(additions.labels.items()),
    }
    return b"".join([orjson.dumps(head, default=tuple), b"\n", *(array.tobytes() for _, array in arrays)])


def read_file(path: Path) -> Additions:
    """What a file holds. Raises ArtifactError when it cannot be read."""
    try:
        content = path.read_bytes()
        line = content.index(b"\n")
        head = orjson.loads(content[:line])
        if head["format"] == FORMAT:
            return _from_arrays(head, _arrays(head, content, line + 1))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"the sealed graph {path} cannot be read: {error}") from error
    raise ArtifactError(f"the sealed graph {path} is of format {head['format']}, this reads {FORMAT}")


def _arrays(head: Mapping[str, Any], content: bytes, at: int) -> dict[str, Array]:
    arrays = {}
    for name, kind, length in head["arrays"]:
        arrays[name] = np.frombuffer(content, np.dtype(kind), length, at)
        at += arrays[name].nbytes
    return arrays


def _from_arrays(head: Mapping[str, Any], arrays: Mapping[str, Array]) -> Additions:
    ends = np.cumsum(arrays["lengths"], dtype=np.int64).tolist()
    texts = arrays["texts"].tobytes()
    starts = [0, *ends[:-1]]
    columns = (arrays[name].astype(np.int64) for name in ("touched", "events", "first", "last"))
    return Additions(
        names=[texts[start:end].decode() for start, end in zip(starts, ends, strict=False)],
        kinds=arrays["kinds"].tobytes(),
        left=arrays["left"].astype(np.int64),
        right=arrays["right"].astype(np.int64),
        joins=arrays["joins"].tobytes(),
        touched=[Touched(*columns)],
        marks=dict(map(tuple, head["marks"])),
        disputes=dict(map(tuple, head["disputes"])),
        labels={payment: _record(*record) for payment, record in head["labels"]},
    )


def _record(observed_time: int, fraud: bool, disputed: bool, entities: Sequence[int]) -> LabelRecord:
    return LabelRecord(observed_time, fraud, disputed, tuple(entities))
