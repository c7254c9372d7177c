"""A tamper-evident log of decision records: sealed segments, an RFC 6962 tree over them, signed tree heads.

>>> log = AuditLog.open(store, folder, SigningKey.from_secret(secrets), "sluice.decision_log/local")
>>> appended = log.append(records)
>>> sealed = log.seal(ts_utc=1_600_000_000_000_000)
>>> log.prove(0).proves(appended.leaf_hashes[0], sealed.head.head.root)
True
"""

from sluice_audit.decision_record import COMPLETE, GROUPS, INCOMPLETE, LINKS, SCHEMA_VERSION
from sluice_audit.errors import (
    AuditError,
    LogDiverged,
    NodesMissing,
    RecordInvalid,
    SegmentDamaged,
    SigningKeyUnusable,
)
from sluice_audit.findings import MOST_FINDINGS, Finding, FindingKind, VerifyReport
from sluice_audit.heads import SignedHead, TreeHead
from sluice_audit.keys import HeadCheck, KnownKey, KnownKeys, SigningKey, new_signing_key
from sluice_audit.log import Appended, AuditLog, Sealed, rebuild_nodes
from sluice_audit.merkle import EMPTY_ROOT, Frontier, leaf_hash, node_hash
from sluice_audit.node_files import NodeFiles
from sluice_audit.proofs import ConsistencyProof, InclusionProof
from sluice_audit.segment_files import StoredRecord, read_record, read_records
from sluice_audit.segment_reading import SegmentReading
from sluice_audit.segments import SEGMENT_PREFIX, MalformedRef, SegmentRef, StoredRef
from sluice_audit.tree import consistency_proof, inclusion_proof, root_at
from sluice_audit.verifying import Beside, verify_log

__all__ = [
    "COMPLETE",
    "EMPTY_ROOT",
    "GROUPS",
    "INCOMPLETE",
    "LINKS",
    "MOST_FINDINGS",
    "SCHEMA_VERSION",
    "SEGMENT_PREFIX",
    "Appended",
    "AuditError",
    "AuditLog",
    "Beside",
    "ConsistencyProof",
    "Finding",
    "FindingKind",
    "Frontier",
    "HeadCheck",
    "InclusionProof",
    "KnownKey",
    "KnownKeys",
    "LogDiverged",
    "MalformedRef",
    "NodeFiles",
    "NodesMissing",
    "RecordInvalid",
    "Sealed",
    "SegmentDamaged",
    "SegmentReading",
    "SegmentRef",
    "SignedHead",
    "SigningKey",
    "SigningKeyUnusable",
    "StoredRecord",
    "StoredRef",
    "TreeHead",
    "VerifyReport",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "new_signing_key",
    "node_hash",
    "read_record",
    "read_records",
    "rebuild_nodes",
    "root_at",
    "verify_log",
]
