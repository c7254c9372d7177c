"""Sealing what joins and watermarks need: one JSON document a line, written in pieces.

The lines are the head (positions, runs, counts), then early contexts, then the payments that wait.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from services.online_features.joining import Asked, Context, Early, Key
from services.online_features.signals import Tally
from services.online_features.watermarks import RunProgress
from sluice_features import FeatureError, FeatureSetRef, Scope, SnapshotBatch
from sluice_kit.places import Place
from sluice_kit.stage.snapshot_file import write_snapshot_file

_AT_ONCE: Final = 1_000
"""Early contexts a line: no line holds the interpreter for long."""


class JoinContent(NamedTuple):
    """What is sealed; the mappings are copies."""

    positions: dict[Place, int]
    runs: dict[Scope, RunProgress]
    queues: dict[Scope, Sequence[Asked]]
    early: dict[Key, Early]
    closed: dict[Scope, int]
    tally: Tally


def write_join_file(folder: Path, prefix: str, content: JoinContent) -> Path:
    """Write `content`; the file's path. Raises OSError."""
    numpy = orjson.OPT_SERIALIZE_NUMPY
    lines = b"\n".join(orjson.dumps(line, default=tuple, option=numpy) for line in _lines(content))
    return write_snapshot_file(folder, prefix, lines, ".jsonl")


def read_join_file(paths: Sequence[Path], feature_set: FeatureSetRef) -> JoinContent:
    """Read what was sealed.

    Raises:
        FeatureError: there is not exactly one file, or it cannot be read.
    """
    if len(paths) != 1:
        raise FeatureError(f"a snapshot of the stage has one file of joins, not {len(paths)}")
    try:
        head, *rest = (orjson.loads(line) for line in paths[0].read_bytes().splitlines())
        content = JoinContent(
            {(topic, partition): following for topic, partition, following in head["positions"]},
            {
                Scope(*scope): RunProgress(low, tuple(highest), tuple(spoke_at))
                for scope, low, highest, spoke_at in head["runs"]
            },
            {},
            {},
            {Scope(*scope): at for scope, at in head.get("closed", ())},
            Tally(*head["tally"]),
        )
        for line in rest:
            _take_line(content, line, feature_set)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FeatureError(f"sealed joins {paths[0]} cannot be read: {error}") from error
    return content


def _lines(content: JoinContent) -> Iterator[Mapping[str, Any]]:
    yield {
        "positions": [[*place, following] for place, following in content.positions.items()],
        "runs": [[scope, *progress] for scope, progress in content.runs.items()],
        "closed": list(content.closed.items()),
        "tally": astuple(content.tally),
    }
    early = list(content.early.items())
    for start in range(0, len(early), _AT_ONCE):
        some = early[start : start + _AT_ONCE]
        yield {"early": [[*key[0], key[1], *one.context, one.arrived] for key, one in some]}
    for queue in content.queues.values():
        for asked in queue:
            yield {"asked": _asked_document(asked)}


def _asked_document(asked: Asked) -> list[Any]:
    measured = asked.measured
    columns: Iterable[Any] = (measured.values, measured.missing, measured.freshness)
    places = (asked.event_ids, asked.partitions, asked.offsets)
    return [
        asked.scope,
        asked.arrived,
        asked.input_basis,
        *places,
        measured.as_of.copy(),
        *(np.ascontiguousarray(column) for column in columns),
    ]


def _take_line(content: JoinContent, line: Mapping[str, Any], feature_set: FeatureSetRef) -> None:
    for tenant, run_id, event_id, version, basis, values, arrived in line.get("early", ()):
        context = Context(version, basis, tuple(values))
        content.early[Scope(tenant, run_id), event_id] = Early(context, arrived)
    if "asked" in line:
        scope, arrived, basis, event_ids, partitions, offsets, as_of, values, missing, freshness = line[
            "asked"
        ]
        measured = SnapshotBatch(
            feature_set,
            np.array(as_of, np.int64),
            np.array(values, np.int64),
            np.array(missing, np.bool_),
            np.array(freshness, np.int64),
        )
        asked = Asked(Scope(*scope), arrived, basis, event_ids, partitions, offsets, measured)
        content.queues[asked.scope] = [*content.queues.get(asked.scope, ()), asked]
