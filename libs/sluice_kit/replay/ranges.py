"""Offset ranges: what a replay reads. Anything else (a run, a time window) is turned into ranges first."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sluice_kit.places import Place


class ReplayError(Exception):
    """A replay cannot be done as asked; `code` names why, the message says where and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OffsetRange(NamedTuple):
    """Offsets start <= offset < end of one partition. Offsets of commit markers in it are no records."""

    topic: str
    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.start}:{self.end}"


def parse_range(text: str) -> OffsetRange:
    """`traffic.payment:0:10:500`. Raises ReplayError RANGE_INVALID."""
    parts = text.rsplit(":", 3)
    try:
        topic, partition, start, end = parts[0], *(int(part) for part in parts[1:])
    except ValueError:
        raise ReplayError(
            "RANGE_INVALID", f"{text!r} is no range; write TOPIC:PARTITION:FROM:TO, TO exclusive"
        ) from None
    return checked(OffsetRange(topic, partition, start, end))


def checked(asked: OffsetRange) -> OffsetRange:
    """The range itself; raises ReplayError RANGE_INVALID when it is upside down or negative."""
    if not asked.topic or asked.partition < 0 or not 0 <= asked.start <= asked.end:
        raise ReplayError("RANGE_INVALID", f"{asked}: needs a topic, a partition and 0 <= FROM <= TO")
    return asked


def read_ranges(path: Path) -> list[OffsetRange]:
    """Ranges from a YAML or JSON file: a list of {topic, partition, start, end}, or an object with `ranges`.

    A replay's own JSON report is such an object. Raises ReplayError RANGES_FILE.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ReplayError("RANGES_FILE", f"{path} cannot be read: {error}") from error
    if isinstance(content, Mapping):
        content = content.get("ranges")
    if not isinstance(content, list):
        raise ReplayError("RANGES_FILE", f"{path} must hold a list of ranges, or an object with `ranges`")
    found = []
    for number, entry in enumerate(content):
        try:
            found.append(
                OffsetRange(
                    str(entry["topic"]), int(entry["partition"]), int(entry["start"]), int(entry["end"])
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ReplayError(
                "RANGES_FILE", f"{path}, range {number}: needs topic, partition, start, end ({error!r})"
            ) from error
    return [checked(item) for item in found]


def merged(ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """The same offsets as sorted, disjoint ranges; empty ones are dropped, touching ones joined."""
    result: list[OffsetRange] = []
    for item in sorted(ranges):
        if item.start == item.end:
            continue
        last = result[-1] if result else None
        if last is not None and last[:2] == item[:2] and item.start <= last.end:
            result[-1] = last._replace(end=max(last.end, item.end))
        else:
            result.append(item)
    return result


def by_partition(ranges: Iterable[OffsetRange]) -> dict[Place, Sequence[OffsetRange]]:
    """Merged ranges of each partition, in order."""
    return {where: list(items) for where, items in groupby(merged(ranges), key=lambda item: item[:2])}
