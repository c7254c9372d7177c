"""The dedupe index on disk: tens of millions of keys in bounded memory, over the kit's segment index."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from services.ingestion_gate.model import Admission, Expired, Known
from sluice_kit.artifacts import ArtifactError
from sluice_kit.index import (
    IndexSettings,
    Manifest,
    RowLayout,
    Rows,
    SegmentIndex,
    SegmentIndexError,
    SegmentWriteFailed,
)
from sluice_kit.stage import Coordinate, FrozenState, StageError
from sluice_kit.stage.snapshot_file import write_snapshot_file

LAYOUT = RowLayout(
    [
        ("key", "V16"),
        ("payload_hash", "V32"),
        ("ts_utc", "<i8"),
        ("offset", "<i8"),
        ("run_no", "<u4"),
        ("partition", "<u2"),
        ("topic", "<u2"),
    ]
)
MANIFEST_PREFIX = "gate-keys-"
SEAL_SECONDS = 120.0
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Frozen:
    """A promise of the index's manifest, and the topic numbers its rows use."""

    keys: "DiskKeys"
    promise: Future[Manifest]
    topics: tuple[str, ...]

    def write(self, folder: Path) -> list[Path]:
        manifest = self.promise.result(SEAL_SECONDS)
        self.keys.sealed(manifest)
        content = orjson.dumps({"topics": self.topics, "index": manifest.to_bytes().decode()})
        path = write_snapshot_file(folder, f"{MANIFEST_PREFIX}{manifest.batch_no}", content, ".json")
        return [path, *(self.keys.folder / segment.name for segment in manifest.segments)]


class DiskKeys:
    """Implements the gate's KeyIndex; segments live in `folder`, which is the checkpointer's as well."""

    def __init__(self, folder: Path, settings: IndexSettings | None = None) -> None:
        self.folder = folder
        self._manifests: list[Manifest] = []
        self._settings = settings or IndexSettings()
        self._topics: list[str] = []
        self._index = SegmentIndex.open(folder, LAYOUT, None, self._settings)

    @property
    def index(self) -> SegmentIndex:
        """The index itself, for metrics."""
        return self._index

    def lookup(self, keys: Sequence[bytes]) -> list[Known | None]:
        """For each key what is known of it."""
        answers: list[Known | None] = [None] * len(keys)
        if not keys:
            return answers
        hits = self._index.find(list(keys))
        if len(hits):
            topics = self._topics
            rows = hits.rows
            for position, payload_hash, topic, partition, offset, ts_utc in zip(
                hits.positions.tolist(),
                rows["payload_hash"].tolist(),
                rows["topic"].tolist(),
                rows["partition"].tolist(),
                rows["offset"].tolist(),
                rows["ts_utc"].tolist(),
                strict=True,
            ):
                where = Coordinate(topics[topic], partition, offset)
                answers[position] = Known(bytes(payload_hash), where, ts_utc)
        return answers

    def add(
        self, admitted: Mapping[bytes, Admission], coordinates: Sequence[Coordinate], batch_no: int
    ) -> None:
        """Take the admissions of a committed batch in."""
        keys = list(admitted)
        facts, payload_hashes, times, run_numbers = zip(*admitted.values(), strict=True)
        topics, partitions, offsets = zip(*map(coordinates.__getitem__, facts), strict=True)
        numbers = {topic: self._topic_number(topic) for topic in dict.fromkeys(topics)}
        rows = np.zeros(len(keys), dtype=LAYOUT.dtype)
        rows["key"] = np.frombuffer(b"".join(keys), dtype="V16")
        rows["payload_hash"] = np.frombuffer(b"".join(payload_hashes), dtype="V32")
        rows["ts_utc"], rows["run_no"] = times, run_numbers
        rows["offset"], rows["partition"] = offsets, partitions
        rows["topic"] = list(map(numbers.__getitem__, topics))
        try:
            self._index.apply(rows, batch_no, keys)
        except SegmentWriteFailed as error:
            raise StageError(
                f"the dedupe index cannot be written: {error}; free space and restart"
            ) from error

    def freeze(self) -> FrozenState:
        """A snapshot; the index freezes its newest rows and writes them behind the step."""
        return _Frozen(self, self._index.seal(), tuple(self._topics))

    def load(self, files: Sequence[Path]) -> None:
        """Open the index exactly as a sealed snapshot names it; every segment's digest is verified.

        Raises:
            ArtifactError: a file cannot be read; the index is as it was.
        """
        named = [path for path in files if path.name.startswith(MANIFEST_PREFIX)]
        if len(named) != 1:
            raise ArtifactError(f"a gate checkpoint names one key manifest, this one has {len(named)}")
        try:
            content = orjson.loads(named[0].read_bytes())
            topics, manifest = list(content["topics"]), Manifest.from_bytes(content["index"].encode())
            self._index.load(manifest)
        except (OSError, ValueError, LookupError, TypeError, SegmentIndexError) as error:
            raise ArtifactError(f"the sealed keys {named[0]} cannot be read: {error!r}") from error
        self._topics, self._manifests = topics, [manifest]

    def clear(self) -> None:
        """Forget everything; files that sealed snapshots link to stay in the artifact store."""
        self._index.load(None)
        self._topics, self._manifests = [], []
        self._index.collect_garbage([])

    def sealed(self, manifest: Manifest) -> None:
        """Another snapshot is on its way: segments that only older ones than the last two need may go.

        The artifact store holds its own links, so a checkpoint of before is fetched from there.
        """
        self._manifests = [*self._manifests[-2:], manifest]
        self._index.collect_garbage(self._manifests)

    def expire(self, expired: Expired) -> None:
        """Let merges leave out rows that no answer depends on any more."""
        closed = np.array(expired.closed_runs, dtype=np.uint32)
        standing = np.array(expired.standing_runs, dtype=np.uint32)

        def gone(rows: Rows) -> Flags:
            run_no = rows["run_no"]
            old = np.isin(run_no, standing) & (rows["ts_utc"] < expired.oldest_ts_utc)
            return np.isin(run_no, closed) | old

        self._index.drop_expired(gone)

    def _topic_number(self, topic: str) -> int:
        if topic not in self._topics:
            self._topics = [*self._topics, topic]
        return self._topics.index(topic)
