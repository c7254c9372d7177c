"""Are the originals of quarantined records where their records say, and are they what was sent?"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from sluice_checker.audit_logs import QuarantineLog
from sluice_checker.columns import NO_DIGEST, NO_PLACE, Numbers, digest, numbers, shown
from sluice_checker.findings import Findings
from sluice_checker.logs import LaneLog
from sluice_checker.report import Fault

SCHEME = "artifact://"


class EvidenceSource(Protocol):
    """Fetches an evidence object."""

    def read(self, uri: str) -> bytes:
        """The object's bytes; raises OSError when it is not there or cannot be read."""
        ...


class FolderEvidence:
    """An artifact root that is a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def read(self, uri: str) -> bytes:
        """See EvidenceSource."""
        path = (self._root / uri.removeprefix(SCHEME)).resolve()
        if not uri.startswith(SCHEME) or not path.is_relative_to(self._root):
            raise FileNotFoundError(f"{uri} is no object of this artifact root")
        return path.read_bytes()


class S3Evidence:
    """An artifact root `s3://bucket/prefix`; `options` are those of obstore's S3Store."""

    def __init__(self, root: str, options: Mapping[str, Any]) -> None:
        from obstore.store import S3Store  # noqa: PLC0415 - only deployments on S3 need it

        bucket, _, prefix = root.removeprefix("s3://").partition("/")
        plain = str(options.get("endpoint", "")).startswith("http://")
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            config=dict(options),  # type: ignore[arg-type]  # a TypedDict of many optional keys
            client_options={"allow_http": plain},
        )

    def read(self, uri: str) -> bytes:
        """See EvidenceSource."""
        try:
            return bytes(self._store.get(uri.removeprefix(SCHEME)).bytes())
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error}") from error


class OriginalOf:
    """Digest of a lane record's value by its place; None where the checker did not read it."""

    def __init__(self, lanes: LaneLog) -> None:
        at: Numbers = numbers(lanes.at)
        self._order = np.argsort(at, kind="stable")
        self._at = at[self._order]
        self._values = lanes.value

    def find(self, at: int) -> bytes | None:
        """Digest of the value at this place."""
        if at == NO_PLACE or not len(self._at):
            return None
        index = int(np.searchsorted(self._at, np.uint64(at)))
        if index == len(self._at) or int(self._at[index]) != at:
            return None
        row = int(self._order[index])
        return bytes(self._values[row * 16 : row * 16 + 16])


def check_evidence(
    quarantine: QuarantineLog, lanes: LaneLog, source: EvidenceSource, findings: Findings
) -> int:
    """Fetch every object once, hold digest, size and originals against it; how many originals are right."""
    original_of = OriginalOf(lanes).find
    by_object: dict[int, list[int]] = defaultdict(list)
    right = 0
    for row, number in enumerate(quarantine.evidence):
        if number != NO_PLACE:
            by_object[number].append(row)
        else:
            right += _inline(quarantine, row, original_of, findings)
    for number, rows in sorted(by_object.items()):
        lines = _lines(quarantine.names.objects[number], source)
        for row in rows:
            where = shown(quarantine.at[row])
            if isinstance(lines, tuple):
                findings.note(lines[0], where, lines[1])
            else:
                right += _line(quarantine, row, lines, original_of, findings)
    return right


def _lines(name: tuple[str, str, int], source: EvidenceSource) -> list[bytes] | tuple[Fault, str]:
    uri, sha256, size = name
    try:
        content = source.read(uri)
    except OSError as error:
        return Fault.EVIDENCE_MISSING, f"{uri}: {error}"
    if hashlib.sha256(content).hexdigest() != sha256 or len(content) != size:
        return Fault.EVIDENCE_ALTERED, f"{uri} holds {len(content)} bytes that are not those of its digest"
    return content.split(b"\n")


def _line(
    quarantine: QuarantineLog,
    row: int,
    lines: list[bytes],
    original_of: Callable[[int], bytes | None],
    findings: Findings,
) -> int:
    where, index = shown(quarantine.at[row]), quarantine.line[row]
    lane_at = quarantine.lane_at[row]
    try:
        entry = orjson.loads(lines[index])
        value = None if entry["value"] is None else base64.b64decode(entry["value"], validate=True)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        findings.note(Fault.EVIDENCE_MISSING, where, f"line {index} of its object cannot be read: {error}")
        return 0
    wanted = original_of(lane_at)
    if wanted is not None and digest(value) != wanted:
        findings.note(Fault.EVIDENCE_ALTERED, where, f"line {index} is not the original {shown(lane_at)}")
        return 0
    return 1


def _inline(
    quarantine: QuarantineLog,
    row: int,
    original_of: Callable[[int], bytes | None],
    findings: Findings,
) -> int:
    lane_at = quarantine.lane_at[row]
    wanted, kept = original_of(lane_at), quarantine.inline.get(row)
    if kept is None and wanted not in (None, NO_DIGEST):
        findings.note(Fault.EVIDENCE_MISSING, shown(quarantine.at[row]), f"no original of {shown(lane_at)}")
        return 0
    if kept is not None and wanted is not None and kept != wanted:
        detail = f"the inline original is not {shown(lane_at)}"
        findings.note(Fault.EVIDENCE_ALTERED, shown(quarantine.at[row]), detail)
        return 0
    return 1
