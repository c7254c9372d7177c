"""A small sealed log, and what somebody with write access to its files could do to it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice_audit import AuditLog, KnownKeys, NodeFiles, SegmentRef, VerifyReport, verify_log
from sluice_audit.merkle import HASH_BYTES, Frontier
from sluice_audit.record_rows import SCHEMA, RecordRows
from sluice_audit.segment_files import SegmentFile
from sluice_audit.segments import segment_bytes
from sluice_kit.artifacts import ArtifactStore, Digest
from tests.unit.audit.conftest import ORIGIN
from tests.unit.audit.records import decision_record

Record = dict[str, Any]


@dataclass
class SealedLog:
    """`refs` and `heads` are what a table or a topic would keep of it."""

    store: ArtifactStore
    folder: Path
    keys: KnownKeys
    refs: list[SegmentRef] = field(default_factory=list)
    heads: list[dict[str, Any]] = field(default_factory=list)

    def verify(self, *, indexed: bool = True) -> VerifyReport:
        size = sum(ref.rows for ref in self.refs)
        nodes = NodeFiles(self.folder, size, read_only=True) if indexed else None
        try:
            return verify_log(self.store, self.refs, self.heads, self.keys, origin=ORIGIN, nodes=nodes)
        finally:
            if nodes is not None:
                nodes.close()

    def path(self, segment: int) -> Path:
        path = self.store.local_path(self.refs[segment].locator)
        assert path is not None
        return path

    def put(self, segment: int, data: bytes, *, hide: bool = False) -> None:
        """Other bytes under the name of a segment; `hide`: its reference names their digest."""
        path = self.path(segment)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        if hide:
            locator = self.refs[segment].locator
            locator = locator.model_copy(update={"digest": Digest.of(data), "bytes": len(data)})
            self.refs[segment] = replace(self.refs[segment], locator=locator)

    def index_file(self, level: int) -> Path:
        return self.folder / f"level_{level:02}.nodes"

    def put_node(self, level: int, number: int, node: bytes) -> None:
        data = bytearray(self.index_file(level).read_bytes())
        data[number * HASH_BYTES : (number + 1) * HASH_BYTES] = node
        self.index_file(level).write_bytes(data)

    def table(self, segment: int) -> pa.Table:
        with SegmentFile(pa.BufferReader(self.path(segment).read_bytes())) as file:
            return file.table()

    def records(self, segment: int) -> list[Record]:
        with SegmentFile(pa.BufferReader(self.path(segment).read_bytes())) as file:
            return [part.rows.record(row) for part in file.read_all() for row in range(len(part.rows))]

    def put_records(
        self, segment: int, records: list[Record], *, hide: bool = False, same_hashes: bool = False
    ) -> None:
        """Rewrite a segment with our own writer, so that its hashes fit; `same_hashes`: keep the old ones."""
        table = RecordRows.of_records(records).table()
        if same_hashes:
            old = self.table(segment)
            for name in ("leaf_hash", "group_checks"):
                table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), old[name])
        self.put(segment, segment_bytes(table, self.refs[segment].first_leaf), hide=hide)
        if hide:
            self.refs[segment] = replace(self.refs[segment], rows=len(records))

    def put_index(self) -> None:
        """Make the node files fit what the segments hold now."""
        for file in self.folder.iterdir():
            file.unlink()
        nodes, frontier = NodeFiles(self.folder), Frontier()
        for segment in range(len(self.refs)):
            nodes.append(frontier.extend(RecordRows.of_records(self.records(segment)).leaves))
        nodes.close()


def sealed_log(log: AuditLog, store: ArtifactStore, folder: Path, keys: KnownKeys, *sizes: int) -> SealedLog:
    """A log with a segment of each size."""
    made = SealedLog(store, folder, keys)
    for size in sizes:
        log.append([decision_record(log.size + at) for at in range(size)])
        sealed = log.seal(1_700_000_000_000_000 + log.size)
        assert sealed is not None
        made.refs.append(sealed.segment)
        made.heads.append(sealed.head.to_fields())
    return made
