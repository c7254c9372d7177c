"""The decision log's own files: which payments they hold a record of."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice_checker.columns import shown
from sluice_checker.evidence import EvidenceSource
from sluice_checker.findings import Findings
from sluice_checker.loop_log import AuditSegment, payment_identity
from sluice_checker.report import Fault

_COLUMNS = ("identity", "chain")


@dataclass(slots=True)
class AuditRecords:
    """`first`: payments that have a record, a digest for each record that corrects no other."""

    first: bytearray = field(default_factory=bytearray)
    corrections: int = 0
    incomplete: set[bytes] = field(default_factory=set)
    """Payments whose last record lacks a link."""


def read_segments(
    segments: Sequence[AuditSegment], source: EvidenceSource, findings: Findings
) -> AuditRecords:
    """Read the files that the bus names; one that is gone, altered or unreadable is a finding."""
    found = AuditRecords()
    for segment in segments:
        try:
            content = source.read(segment.uri)
        except OSError as error:
            findings.note(Fault.AUDIT_SEGMENT_UNREADABLE, shown(segment.at), f"{segment.uri}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() != segment.sha256:
            why = f"{segment.uri} has not the digest that the bus names"
            findings.note(Fault.AUDIT_SEGMENT_UNREADABLE, shown(segment.at), why)
            continue
        try:
            _take(found, content, segment, findings)
        except (pa.ArrowException, orjson.JSONDecodeError, KeyError, TypeError) as error:
            findings.note(Fault.AUDIT_SEGMENT_UNREADABLE, shown(segment.at), f"{segment.uri}: {error}")
    return found


def _take(found: AuditRecords, content: bytes, segment: AuditSegment, findings: Findings) -> None:
    table = pq.read_table(pa.BufferReader(content), columns=list(_COLUMNS))
    if table.num_rows != segment.records:
        why = f"{segment.uri} holds {table.num_rows} records, its event says {segment.records}"
        findings.note(Fault.AUDIT_SEGMENT_UNREADABLE, shown(segment.at), why)
    columns = (table.column(name).to_pylist() for name in _COLUMNS)
    for who, how in zip(*columns, strict=True):
        about, chain = orjson.loads(who), orjson.loads(how)
        subject = payment_identity(about["tenant"], about["run_id"], about["event_id"])
        if chain["corrects"] is None:
            found.first += subject
        else:
            found.corrections += 1
        if chain["status"] == "COMPLETE":
            found.incomplete.discard(subject)
        else:
            found.incomplete.add(subject)
