"""Records as rows: a column of canonical JSON a field group, the leaf hash of each row, checks of its groups.

A row's canonical bytes are `canonical_json(record)`. For appending as for verifying they are put together
from the columns, so what is hashed is what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sluice_audit.decision_record import COMPLETE_CHAIN, GROUPS, LINKS, RECORD, contradiction
from sluice_audit.errors import RecordInvalid
from sluice_audit.merkle import HASH_BYTES, LEAF_PREFIX

CHECK_BYTES: Final = 4
LEAF_HASH: Final = "leaf_hash"
GROUP_CHECKS: Final = "group_checks"
SCHEMA: Final = pa.schema(
    [
        *(pa.field(name, pa.json_(), nullable=False) for name in GROUPS),
        pa.field(LEAF_HASH, pa.binary(HASH_BYTES), nullable=False),
        pa.field(GROUP_CHECKS, pa.binary(CHECK_BYTES * len(GROUPS)), nullable=False),
    ]
)
"""Columns of a segment: the field groups, the RFC 6962 leaf hash, the CRC-32 of each group's JSON."""

_PATTERNS: Final = tuple(f"^{form.pattern}$" for form in RECORD.fields.values())
_PLAINLY_THERE: Final = ("chain", *(name for name in GROUPS if name in LINKS))
"""Groups that show that a record is complete and lacks nothing: then nothing contradicts itself."""
_NULL: Final = "null"
_AT_ONCE: Final = 128
_NOTHING: Final = pa.scalar(b"", pa.binary())


@dataclass(frozen=True, slots=True)
class RecordRows:
    """Some rows. `texts`: a binary column a field group; `leaves`: the leaf hash of each row, from these."""

    texts: tuple[pa.Array, ...]
    leaves: list[bytes]

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]]) -> RecordRows:
        """Raises RecordInvalid naming the first record that is not of the stated schema."""
        try:
            texts = _texts(records)
        except (TypeError, KeyError, orjson.JSONEncodeError):  # not even JSON, or no such group
            texts = []
        sound = texts and all(map(_match, texts, _PATTERNS)) and set(map(len, records)) <= {len(GROUPS)}
        for row, record in enumerate(records):
            if not sound:
                _check(row, record)
            if problem := contradiction(record):
                raise RecordInvalid(row, "chain", problem)
        return cls.of_texts(texts)

    @classmethod
    def of_canonical(cls, records: Sequence[Sequence[str]]) -> RecordRows:
        """From the canonical JSON of the field groups of records, each in the order of GROUPS.

        Raises RecordInvalid as `of_records` does.
        """
        columns = list(zip(*records, strict=True))
        texts = [pa.array(column, pa.string()).cast(pa.binary()) for column in columns]
        if len(texts) != len(GROUPS) or not all(map(_match, texts, _PATTERNS)):
            return cls.of_records(
                list(map(_parsed, records))
            )  # which says of the first wrong one what is wrong
        plain = [column for name, column in zip(GROUPS, columns, strict=True) if name in _PLAINLY_THERE]
        states, *links = plain
        if states.count(COMPLETE_CHAIN) < len(states) or any(_NULL in link for link in links):
            for row, groups in enumerate(zip(*plain, strict=True)):
                plainly_sound = groups[0] == COMPLETE_CHAIN and _NULL not in groups
                if not plainly_sound and (problem := contradiction(_parsed(records[row]))):
                    raise RecordInvalid(row, "chain", problem)
        return cls.of_texts(texts)

    @classmethod
    def of_texts(cls, texts: Sequence[pa.Array]) -> RecordRows:
        """From the JSON of each field group, whatever it is."""
        sha256 = hashlib.sha256
        return cls(tuple(texts), [sha256(data).digest() for data in _leaf_data(texts).to_pylist()])

    def __len__(self) -> int:
        return len(self.leaves)

    def checks(self) -> bytes:
        """The group checks of all rows, one row after the other."""
        made = np.empty((len(self), len(GROUPS)), "<u4")
        for number, text in enumerate(self.texts):
            made[:, number] = list(map(crc32, text.to_pylist()))
        return made.tobytes()

    def canonical(self, row: int) -> bytes:
        """The canonical bytes of a row: what its leaf hashes."""
        data: bytes = _leaf_data([text.slice(row, 1) for text in self.texts])[0].as_py()
        return data[len(LEAF_PREFIX) :]

    def record(self, row: int) -> dict[str, Any]:
        """A row as the record that it is."""
        record: dict[str, Any] = orjson.loads(self.canonical(row))
        return record

    def table(self) -> pa.Table:
        """All columns of SCHEMA."""
        octets = [(b"".join(self.leaves), HASH_BYTES), (self.checks(), CHECK_BYTES * len(GROUPS))]
        beside = [
            pa.Array.from_buffers(pa.binary(width), len(self), [None, pa.py_buffer(data)])
            for data, width in octets
        ]
        groups = [pa.ExtensionArray.from_storage(pa.json_(), text.cast(pa.string())) for text in self.texts]
        return pa.Table.from_arrays([*groups, *beside], schema=SCHEMA)


def _texts(records: Sequence[Mapping[str, Any]]) -> list[pa.Array]:
    """The canonical JSON of each field group. Few texts live at a time: the heap stays small, and warm."""
    dumps, option = orjson.dumps, orjson.OPT_SORT_KEYS
    stretches = [records[at : at + _AT_ONCE] for at in range(0, len(records), _AT_ONCE)]
    return [
        pa.concat_arrays(
            [pa.array([dumps(one[name], None, option) for one in some], pa.binary()) for some in stretches]
        )
        for name in GROUPS
    ]


def _parsed(texts: Sequence[str]) -> dict[str, Any]:
    return {name: orjson.loads(text) for name, text in zip(GROUPS, texts, strict=False)}


def _match(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py())


def _leaf_data(texts: Sequence[pa.Array]) -> pa.Array:
    """What leaves hash, prefix and all."""
    pieces: list[Any] = []
    for number, (name, text) in enumerate(zip(GROUPS, texts, strict=True)):
        before = b"," if number else LEAF_PREFIX + b"{"
        pieces += [pa.scalar(b'%b"%b":' % (before, name.encode()), pa.binary()), text]
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"}", pa.binary()), _NOTHING)


def _check(row: int, record: Mapping[str, Any]) -> None:
    """Say of the first record that is not of the stated form what is wrong with it."""
    try:
        sound = all(map(_match, _texts([record]), _PATTERNS))
    except (TypeError, KeyError, orjson.JSONEncodeError):
        sound = False
    if not sound or len(record) != len(GROUPS):
        raise RecordInvalid(row, *RECORD.problem(record, ""))
