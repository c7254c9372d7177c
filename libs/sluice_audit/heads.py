"""Tree heads: what a log says of itself at one size, and the bytes that are signed.

The signed bytes are a checkpoint of the transparency-log world (C2SP tlog-checkpoint): lines of text that
end in a newline each, so that anybody can check a head with a shell and the public key.

    sluice.decision_log/local           the log's name: no head of one log passes for another's
    1000                                leaves
    q9mDhWrC...=                        root, base64
    ts_utc 1600000000000000             when it was signed, microseconds since 1970 UTC
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluice_audit.merkle import HASH_BYTES

_ORIGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,255}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_FIELDS: Final = frozenset({"origin", "size", "root", "ts_utc", "key_id", "signature"})


@dataclass(frozen=True, slots=True)
class TreeHead:
    """The log called `origin` had `size` leaves and this root at `ts_utc` (microseconds since 1970 UTC).

    Raises ValueError for values that the canonical bytes cannot hold.
    """

    origin: str
    size: int
    root: bytes
    ts_utc: int

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise ValueError(f"{self.origin!r} cannot name a log: A-Z a-z 0-9 _ . : / - only")
        if self.size < 0 or self.ts_utc < 0:
            raise ValueError(f"size {self.size} and time {self.ts_utc} of a tree head are never negative")
        if len(self.root) != HASH_BYTES:
            raise ValueError(f"a root has {HASH_BYTES} bytes, not {len(self.root)}")

    def canonical(self) -> bytes:
        """The bytes that are signed; equal heads and only those have equal ones."""
        root = b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nts_utc {self.ts_utc}\n".encode()


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A head, the fingerprint of the key that signed it (64 hex), and the Ed25519 signature (64 bytes)."""

    head: TreeHead
    key_id: str
    signature: bytes

    def to_fields(self) -> dict[str, Any]:
        """The flat dict that contracts and JSON documents carry; bytes are lowercase hex."""
        return {
            "origin": self.head.origin,
            "size": self.head.size,
            "root": self.head.root.hex(),
            "ts_utc": self.head.ts_utc,
            "key_id": self.key_id,
            "signature": self.signature.hex(),
        }

    @classmethod
    def load(cls, fields: Mapping[str, Any]) -> SignedHead:
        """The head of such a dict. Raises ValueError unless `to_fields` would give the very same one."""
        if not isinstance(fields, Mapping) or fields.keys() != _FIELDS:
            raise ValueError(f"a signed head has {sorted(_FIELDS)}, and nothing else")
        for name, kind in (("origin", str), ("size", int), ("ts_utc", int)):
            if type(fields[name]) is not kind:
                raise ValueError(f"{name} of a signed head is of type {kind.__name__}")
        root, key_id = _hex(fields, "root", _DIGEST), _hex(fields, "key_id", _DIGEST)
        head = TreeHead(fields["origin"], fields["size"], bytes.fromhex(root), fields["ts_utc"])
        return cls(head, key_id, bytes.fromhex(_hex(fields, "signature", _SIGNATURE)))


def _hex(fields: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = fields[name]
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"{name} of a signed head is lowercase hex ({form.pattern})")
    return value
