"""A segment index: 16-byte key digests to fixed-width rows, tens of millions of them.

>>> layout = RowLayout([("key", "V16"), ("offset", "<i8")])
>>> index = SegmentIndex.open(folder, layout)
>>> index.apply(rows, batch_no=1)
>>> index.lookup([key])
>>> manifest = index.seal().result()
>>> SegmentIndex.open(folder, layout, manifest)
"""

from sluice_kit.index.errors import (
    IndexInUse,
    ManifestMismatch,
    SegmentCorrupt,
    SegmentIndexError,
    SegmentMissing,
    SegmentWriteFailed,
)
from sluice_kit.index.file_operations import FileOperations
from sluice_kit.index.layout import KEY_BYTES, RowLayout, Rows
from sluice_kit.index.lookup import Hits
from sluice_kit.index.manifest import Manifest, SegmentRef
from sluice_kit.index.merge import Expired
from sluice_kit.index.segment_index import IndexStatus, SegmentIndex
from sluice_kit.index.settings import IndexSettings

__all__ = [
    "KEY_BYTES",
    "Expired",
    "FileOperations",
    "Hits",
    "IndexInUse",
    "IndexSettings",
    "IndexStatus",
    "Manifest",
    "ManifestMismatch",
    "RowLayout",
    "Rows",
    "SegmentCorrupt",
    "SegmentIndex",
    "SegmentIndexError",
    "SegmentMissing",
    "SegmentRef",
    "SegmentWriteFailed",
]
