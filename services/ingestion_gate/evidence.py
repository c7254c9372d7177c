"""Quarantine evidence: the original bytes of what was refused, one content-addressed object a batch."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from services.ingestion_gate.model import Refusal
from sluice_kit.stage import ArtifactPut

EVIDENCE_PREFIX = "ig/evidence"
EVIDENCE_SUFFIX = ".ndjson"
OBJECT_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EvidenceRef:
    """Where one original stands: an object by digest and the number of its line."""

    uri: str
    digest_hash: str
    size: int
    index: int

    def fields(self) -> dict[str, object]:
        """The shape that receipts and quarantine records carry."""
        return {
            "uri": self.uri,
            "digest_algo": "sha256",
            "digest_hash": self.digest_hash,
            "bytes": self.size,
            "index": self.index,
        }


def evidence_line(refusal: Refusal) -> bytes:
    """One original as a line of JSON: bytes in base64, where it stood and why it was refused."""
    record = refusal.record
    return orjson.dumps(
        {
            "lane": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": None if record.key is None else base64.b64encode(record.key).decode(),
            "value": None if record.value is None else base64.b64encode(record.value).decode(),
            "headers": headers_fields(refusal),
            "principal": refusal.principal,
            "reason": refusal.reason,
            "detail": refusal.detail,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def headers_fields(refusal: Refusal) -> list[tuple[str, str | None]]:
    """Headers as JSON can hold them: names and base64 values."""
    return [
        (name, None if value is None else base64.b64encode(value).decode())
        for name, value in refusal.record.headers
    ]


def bundle_evidence(refusals: Sequence[Refusal]) -> tuple[list[ArtifactPut], list[EvidenceRef]]:
    """Pack originals into objects of at most 8 MiB (one larger original is an object of its own).

    The name of an object is its digest, so that a batch stepped again names the same object.
    """
    puts: list[ArtifactPut] = []
    refs: list[EvidenceRef] = []
    lines: list[bytes] = []
    size = 0

    def close() -> None:
        nonlocal lines, size
        if not lines:
            return
        content = b"".join(lines)
        digest = hashlib.sha256(content).hexdigest()
        uri = f"artifact://{EVIDENCE_PREFIX}/{digest[:2]}/{digest}{EVIDENCE_SUFFIX}"
        puts.append(ArtifactPut(EVIDENCE_PREFIX, content, EVIDENCE_SUFFIX))
        refs.extend(EvidenceRef(uri, digest, len(content), index) for index in range(len(lines)))
        lines, size = [], 0

    for refusal in refusals:
        line = evidence_line(refusal)
        if size and size + len(line) > OBJECT_LIMIT_BYTES:
            close()
        lines.append(line)
        size += len(line)
    close()
    return puts, refs
