"""What every generated top-level record can do."""

from __future__ import annotations

from typing import Any, ClassVar, Self


class EventRecord:
    """Base of the generated records of ``sluice_contracts.records``."""

    __slots__ = ()
    event_type: ClassVar[str]
    schema_version: ClassVar[int]

    def to_fields(self) -> dict[str, Any]:
        """The record as the plain dict that the codec takes; times are integer microseconds."""
        raise NotImplementedError

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """The record of a decoded dict; raises KeyError where a field is missing."""
        raise NotImplementedError

    def encode(self) -> bytes:
        """The record as framed Avro bytes."""
        from sluice_contracts.codec import encode  # noqa: PLC0415 - the codec knows the records

        return encode(self.event_type, self.schema_version, self.to_fields())
