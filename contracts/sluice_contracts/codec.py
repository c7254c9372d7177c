"""Bytes to events and back: Confluent framing (zero byte, 4-byte schema id) around Avro.

``decode`` gives every fault of the bytes a name and never raises on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from sluice_contracts.diagnosis import diagnose
from sluice_contracts.generated.codecs import READERS, WRITERS
from sluice_contracts.generated.schemas import SCHEMAS
from sluice_contracts.generated.topics import TOPICS
from sluice_contracts.generated.validators import EXPLAIN, FAST
from sluice_contracts.record_base import EventRecord
from sluice_contracts.violations import Violation

MAX_VALUE_BYTES = 1_048_576
"""Largest framed value of most contracts, 1 MiB.

``Contract.max_bytes`` is the limit that holds: records that carry another record's original bytes may be a
little longer. Anything longer is OVERSIZE."""

_HEADER = 5
_NO_VIOLATIONS: tuple[Violation, ...] = ()


class DecodeCode(StrEnum):
    """Why bytes are not an event of ours."""

    EMPTY = "EMPTY"
    WRONG_MAGIC = "WRONG_MAGIC"
    UNKNOWN_SCHEMA_ID = "UNKNOWN_SCHEMA_ID"
    TRUNCATED = "TRUNCATED"
    TRAILING_BYTES = "TRAILING_BYTES"
    MALFORMED = "MALFORMED"
    OVERSIZE = "OVERSIZE"


class EncodeError(Exception):
    """The fields do not fit the contract; the message names the contract and the field where known."""


class UnknownContractError(LookupError):
    """No contract for this event type and version."""


class Contract:
    """One version of one event type.

    ``name`` is the Avro full name and the registry subject; ``topic`` the event bus topic that the gate puts
    the event on, or None; ``schema`` the Avro schema as a registry holds it.
    """

    __slots__ = (
        "_explain",
        "_fast",
        "_read",
        "_write",
        "enveloped",
        "event_type",
        "max_bytes",
        "name",
        "prefix",
        "schema",
        "schema_id",
        "topic",
        "version",
    )

    def __init__(
        self,
        *,
        schema_id: int,
        event_type: str,
        version: int,
        enveloped: bool,
        name: str,
        max_bytes: int,
        text: str,
        topic: str | None,
    ) -> None:
        self.schema_id = schema_id
        self.event_type = event_type
        self.version = version
        self.enveloped = enveloped
        self.name = name
        self.max_bytes = max_bytes
        self.topic = topic
        self.schema: dict[str, Any] = orjson.loads(text)
        self.prefix = b"\x00" + schema_id.to_bytes(4, "big")
        key = (event_type, version)
        self._fast, self._explain = FAST[key], EXPLAIN[key]
        self._read, self._write = READERS[key], WRITERS[key]

    def __repr__(self) -> str:
        return f"Contract({self.event_type}.v{self.version}, id {self.schema_id})"

    def check(self, fields: Mapping[str, Any]) -> tuple[Violation, ...]:
        """Every rule that ``fields`` breaks, empty when none: types, ranges, formats, values, lengths."""
        try:
            if self._fast(fields):  # type: ignore[arg-type]
                return _NO_VIOLATIONS
        except (KeyError, TypeError, AttributeError):
            pass
        return tuple(self._explain(fields))  # type: ignore[arg-type]

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Framed bytes of ``fields``; absent fields take the schema's default. Raises EncodeError."""
        try:
            value = self._write(fields)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise EncodeError(f"{self.event_type}.v{self.version}: {self._reason(fields, error)}") from error
        if len(value) > self.max_bytes:
            raise EncodeError(f"{self.event_type}.v{self.version}: {_too_long(value, self.max_bytes)}")
        return value

    def _reason(self, fields: Mapping[str, Any], error: Exception) -> str:
        """What the rules say about fields that could not be encoded, or what the encoder said."""
        broken = self.check(fields)
        return "; ".join(violation.message for violation in broken) or f"{type(error).__name__}: {error}"

    def decode(self, value: bytes) -> Decoded | DecodeFailure:
        """Decode framed bytes that carry this contract's id."""
        try:
            fields, end = self._read(value)
            if end == len(value) <= self.max_bytes:
                return Decoded(self, fields)
        except (IndexError, ValueError):
            pass
        return self._failure(value)

    def _failure(self, value: bytes) -> DecodeFailure:
        if len(value) > self.max_bytes:
            return DecodeFailure(DecodeCode.OVERSIZE, _too_long(value, self.max_bytes))
        whole, sentence, end = diagnose(self.schema, value, _HEADER)
        if whole:
            rest = len(value) - end
            return DecodeFailure(DecodeCode.TRAILING_BYTES, f"{rest} bytes after the end of {self!r}")
        code = DecodeCode.TRUNCATED if sentence.startswith("cut") else DecodeCode.MALFORMED
        return DecodeFailure(code, sentence)


def _too_long(value: bytes, limit: int) -> str:
    return f"{len(value)} bytes; at most {limit} are allowed"


@dataclass(frozen=True, slots=True)
class Decoded:
    """An event: its contract and its fields, a nested plain dict with integer times."""

    contract: Contract
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DecodeFailure:
    """Why bytes could not be decoded: a DecodeCode and a sentence."""

    code: str
    detail: str


def _contracts() -> dict[tuple[str, int], Contract]:
    homes = {
        event_type: topic["name"]
        for topic in TOPICS
        if topic["class"] in {"traffic", "control", "audit"}
        for event_type in topic["event_types"]
    }
    return {
        (event_type, version): Contract(
            schema_id=schema_id,
            event_type=event_type,
            version=version,
            enveloped=enveloped,
            name=name,
            max_bytes=max_bytes,
            text=text,
            topic=homes.get(event_type),
        )
        for schema_id, event_type, version, enveloped, name, max_bytes, text in SCHEMAS
    }


CONTRACTS: Mapping[tuple[str, int], Contract] = _contracts()
"""(event type, version) to its contract."""
_BY_PREFIX = {contract.prefix: contract for contract in CONTRACTS.values()}


def contract_for(event_type: str, version: int = 1) -> Contract:
    """The contract of an event type and version; raises UnknownContractError."""
    try:
        return CONTRACTS[event_type, version]
    except KeyError:
        known = ", ".join(f"{name}.v{number}" for name, number in CONTRACTS)
        raise UnknownContractError(f"no contract {event_type}.v{version}; known: {known}") from None


def contract_by_id(schema_id: int) -> Contract | None:
    """The contract of a pinned schema id, or None."""
    return _BY_PREFIX.get(b"\x00" + schema_id.to_bytes(4, "big"))


def encode(event_type: str, version: int, fields: Mapping[str, Any]) -> bytes:
    """Framed bytes of an event; raises UnknownContractError, EncodeError."""
    return contract_for(event_type, version).encode(fields)


def decode(value: bytes | None) -> Decoded | DecodeFailure:
    """The event in ``value``, or a named failure; never raises on bad bytes."""
    if not value:
        return DecodeFailure(DecodeCode.EMPTY, "no value")
    contract = _BY_PREFIX.get(value[:_HEADER])
    if contract is None:
        return _unframed(value)
    return contract.decode(value)


def _unframed(value: bytes) -> DecodeFailure:
    if value[0] != 0:
        return DecodeFailure(DecodeCode.WRONG_MAGIC, f"the first byte is {value[0]}, not 0")
    if len(value) < _HEADER:
        return DecodeFailure(DecodeCode.TRUNCATED, f"{len(value)} bytes; the frame alone takes {_HEADER}")
    schema_id = int.from_bytes(value[1:_HEADER], "big")
    return DecodeFailure(DecodeCode.UNKNOWN_SCHEMA_ID, f"schema id {schema_id} is not in the lock file")


def check(fields: Mapping[str, Any]) -> tuple[Violation, ...]:
    """Check an enveloped event against the contract that its event_type and schema_version name."""
    event_type, version = fields.get("event_type"), fields.get("schema_version")
    contract = None
    if isinstance(event_type, str) and isinstance(version, int):
        contract = CONTRACTS.get((event_type, version))
    if contract is None:
        return (Violation("event_type", "unknown", f"no contract {event_type!r} version {version!r}"),)
    return contract.check(fields)


def to_record(decoded: Decoded) -> EventRecord:
    """The typed record of a decoded event."""
    # Making some fifty classes takes a tenth of a service's start, and few ever ask for a typed record.
    from sluice_contracts.generated.records import RECORDS  # noqa: PLC0415

    contract = decoded.contract
    return RECORDS[contract.event_type, contract.version].from_fields(decoded.fields)
