"""Where receipts stand: digests of event and receipt ids to places in the log. A cache; the log is the truth.

A *place* is one whole number: topic code, partition and offset packed together, so that a row of the index
is a 16-byte key and 8 bytes. Several events may share a key; whoever fetches a place compares the id.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from sluice_kit.places import Place
from sluice_kit.stage import Coordinate

KEY_BYTES: Final = 16
TOPICS: Final = ("audit.receipt", "audit.quarantine", "audit.governance")
"""Topics that are followed; the position in this tuple is the topic's code in a place."""
_DIGEST_CHARS: Final = 64
_OFFSET_BITS: Final = 40
_PARTITION_BITS: Final = 16
_OFFSET_MASK: Final = (1 << _OFFSET_BITS) - 1
_PARTITION_MASK: Final = (1 << _PARTITION_BITS) - 1

Positions = Mapping[Place, int]
"""(topic, partition) to the next offset to read."""


def key_of(identity: bytes) -> bytes:
    """The index key of an id: a digest in hex is one already (its first half), of any other id blake2b's."""
    return keys_of([identity])


def keys_of(identities: Sequence[bytes]) -> bytes:
    """The keys of ids, joined. Digests are turned all at once: nearly all ids are some."""
    digests = all(map(_DIGEST_CHARS.__eq__, map(len, identities)))
    keys = _from_hex(b"".join([identity[: 2 * KEY_BYTES] for identity in identities])) if digests else None
    if keys is not None and len(keys) == KEY_BYTES * len(identities):
        return keys
    return b"".join(map(_key_of_any, identities))


def _key_of_any(identity: bytes) -> bytes:
    key = _from_hex(identity[: 2 * KEY_BYTES]) if len(identity) == _DIGEST_CHARS else None
    if key is not None and len(key) == KEY_BYTES:
        return key
    return hashlib.blake2b(identity, digest_size=KEY_BYTES).digest()


def _from_hex(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex(text.decode())
    except ValueError:
        return None


def identities_in(topic: str, key: bytes | None, value: bytes) -> list[bytes]:
    """The ids under which a record is found: its own, and the subject's, which a receipt's key is."""
    ids = (own_id_in(value), key if topic == TOPICS[0] else None)
    return [identity for identity in ids if identity is not None]


def own_ids_in(values: Sequence[bytes]) -> list[bytes]:
    """The ids of the gate's own events. Raises ValueError for a value that is none of its making."""
    if any(value[5:7] != b"\x80\x01" for value in values):
        raise ValueError("an event of the gate does not begin with its id")
    return [value[7:71] for value in values]


def own_id_in(value: bytes) -> bytes | None:
    """The id of the gate's own event in ``value``: a digest, and the first field of the bytes."""
    return value[7:71] if value[5:7] == b"\x80\x01" else None  # a text of 64 characters


def place_base(topic: str, partition: int) -> int:
    """The place of offset 0 of a partition; adding an offset gives the place of that offset."""
    return (TOPICS.index(topic) << _PARTITION_BITS | partition) << _OFFSET_BITS


def coordinate_of(place: int) -> Coordinate:
    """Topic, partition and offset of a place."""
    partition = place >> _OFFSET_BITS & _PARTITION_MASK
    return Coordinate(TOPICS[place >> _OFFSET_BITS + _PARTITION_BITS], partition, place & _OFFSET_MASK)


class PlaceIndex(Protocol):
    """Many places a key. One thread writes; any thread may look up at the same time."""

    @property
    def positions(self) -> Positions:
        """Where the content that survives a restart ends."""
        ...

    @property
    def rows(self) -> int:
        """Places held."""
        ...

    def add(self, keys: bytes, places: Sequence[int]) -> None:
        """Take places in, with their keys joined; found at once."""
        ...

    def find(self, key: bytes) -> list[int]:
        """Every place of a key, in ascending order."""
        ...

    def tend(self, positions: Positions) -> None:
        """Do a bounded piece of upkeep (some ms); everything before ``positions`` was added."""
        ...

    def seal(self, positions: Positions) -> None:
        """Make everything added so far, which ends at ``positions``, survive a restart."""
        ...

    def clear(self) -> None:
        """Forget everything; positions become empty."""
        ...


class MemoryPlaces:
    """A PlaceIndex in a dictionary: for tests; it passes the suite of the one on disk."""

    def __init__(self) -> None:
        self._places: dict[bytes, list[int]] = {}
        self._positions: Positions = {}

    @property
    def positions(self) -> Positions:
        """Where what was sealed ends."""
        return self._positions

    @property
    def rows(self) -> int:
        """Places held."""
        return sum(map(len, self._places.values()))

    def add(self, keys: bytes, places: Sequence[int]) -> None:
        """Take places in."""
        for number, place in enumerate(places):
            key = keys[KEY_BYTES * number : KEY_BYTES * (number + 1)]
            self._places.setdefault(key, []).append(place)

    def find(self, key: bytes) -> list[int]:
        """Every place of a key."""
        return sorted(set(self._places.get(key, ())))

    def tend(self, positions: Positions) -> None:
        """Nothing to do."""

    def seal(self, positions: Positions) -> None:
        """Note where the content ends."""
        self._positions = dict(positions)

    def clear(self) -> None:
        """Forget everything."""
        self._places, self._positions = {}, {}
