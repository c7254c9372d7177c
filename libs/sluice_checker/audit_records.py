"""The decision log's own files: which payments they hold a record of, and what each record names."""

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice_checker.columns import number_column, shown
from sluice_checker.evidence import EvidenceSource
from sluice_checker.findings import Findings
from sluice_checker.loop_log import AuditSegment, link_digest, payment_identity
from sluice_checker.report import Fault

_COLUMNS = ("identity", "chain", "decision", "intents", "outcomes")
_FOR_GOOD = {"snapshot"}
"""Links that a record may lack although nothing is to come: a decision need not have used a snapshot."""


@dataclass(slots=True)
class AuditRecords:
    """`first`: payments that have a record, a digest for each record that corrects no other.

    `subject`: the payment of each record, in the order of the log; `whole`: 1 where it says that no link is
    to come. `named`: what records name (`link_digest`), `named_by`: the row of the record that does.
    """

    first: bytearray = field(default_factory=bytearray)
    subject: bytearray = field(default_factory=bytearray)
    whole: "array[int]" = field(default_factory=lambda: array("B"))
    named: bytearray = field(default_factory=bytearray)
    named_by: "array[int]" = field(default_factory=number_column)
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
    for texts in zip(*columns, strict=True):
        about, chain, decision, intents, outcomes = map(orjson.loads, texts)
        subject = payment_identity(about["tenant"], about["run_id"], about["event_id"])
        if chain["corrects"] is None:
            found.first += subject
        else:
            found.corrections += 1
        if chain["status"] == "COMPLETE":
            found.incomplete.discard(subject)
        else:
            found.incomplete.add(subject)
        row = len(found.whole)
        found.subject += subject
        found.whole.append(_FOR_GOOD.issuperset(chain["missing"]))
        decided = [] if decision is None else [decision]
        for link, references in (("decision", decided), ("intents", intents), ("outcomes", outcomes)):
            for reference in references:
                found.named += link_digest(subject, link, reference["id"])
                found.named_by.append(row)
