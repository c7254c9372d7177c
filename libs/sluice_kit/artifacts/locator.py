"""Locators: how one component names another's bytes. `{uri, digest {algo, hash}, bytes, schema_version}`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

ALGORITHM = "sha256"
_HEX64 = re.compile(r"[0-9a-f]{64}")
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.:=-]*"  # never empty, never "." or ".."
_URI = re.compile(rf"[a-z][a-z0-9]*://{_SEGMENT}(?:/{_SEGMENT})*")
_LENIENT = {"lenient": True}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Self:
        """Read one that somebody else made: unknown fields are dropped, other algorithms are kept.

        Raises pydantic.ValidationError when a known field is missing or of a wrong type.
        """
        known = {name: value[name] for name in cls.model_fields if name in value}
        if isinstance(known.get("digest"), Mapping):
            known["digest"] = Digest.load(known["digest"])
        return cls.model_validate(known, context=_LENIENT)


class Digest(_Frozen):
    """A content digest. What we make is sha256 in lowercase hex; what we load may be newer."""

    algo: str = ALGORITHM
    hash: str

    @field_validator("algo")
    @classmethod
    def _known_algorithm(cls, value: str, info: ValidationInfo) -> str:
        if not info.context and value != ALGORITHM:
            raise ValueError(f"digests are made with {ALGORITHM}, not {value}")
        return value

    @field_validator("hash")
    @classmethod
    def _hex(cls, value: str, info: ValidationInfo) -> str:
        if info.context:
            return value.lower()
        if not _HEX64.fullmatch(value):
            raise ValueError("a sha256 digest is 64 lowercase hex characters")
        return value

    @classmethod
    def of(cls, data: bytes | memoryview) -> Digest:
        """The digest of bytes in memory."""
        return cls(hash=hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """The digest of a local file, read in constant memory."""
        with path.open("rb") as file:
            return cls(hash=hashlib.file_digest(file, ALGORITHM).hexdigest())

    def __str__(self) -> str:
        return f"{self.algo}:{self.hash}"


class Locator(_Frozen):
    """Where an artifact is and which bytes it must have. `uri` is relative to the wired root."""

    uri: str
    digest: Digest
    bytes: Annotated[int, Field(ge=0)]
    schema_version: Annotated[int, Field(ge=1)] = 1

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str, info: ValidationInfo) -> str:
        if not info.context and not _URI.fullmatch(value):
            raise ValueError("a locator's uri is scheme://prefix/path, segments of A-Z a-z 0-9 _ . : = -")
        return value

    def to_fields(self) -> dict[str, Any]:
        """The plain nested dict that contracts and JSON documents carry."""
        return self.model_dump()


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def bundle_digest(members: Iterable[tuple[str, Digest]]) -> Digest:
    """The digest of several files: that of their manifest `[[name, "algo:hash"], ...]` sorted by name.

    Raises ValueError when two members have one name.
    """
    manifest = sorted((name, str(digest)) for name, digest in members)
    names = [name for name, _ in manifest]
    if len(set(names)) != len(names):
        raise ValueError("two members of a bundle have the same name")
    return Digest.of(canonical_json([list(member) for member in manifest]))
