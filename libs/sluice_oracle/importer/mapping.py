"""The mapping file: how a user's columns become payments. Small, strict, and part of the world's identity."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sluice_oracle.columns import PAYMENT_SCHEMA, LabelTraffic
from sluice_oracle.traffic_rules import PAYMENT_RULES

_PLACEHOLDER = re.compile(r"\{([^{}:]+)(?::0(\d{1,2}))?\}")


class MappingError(ValueError):
    """The mapping file is missing or wrong; the message names the file and each wrong key."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextSpec(_Strict):
    """One of: a column, a constant, or a template such as `C{CUSTOMER_ID}` or `P{ID:012}` (zero padded).

    `values` maps what the column holds to what the contract wants; a value that is not listed is a reject.
    """

    column: str | None = None
    constant: str | None = None
    template: str | None = None
    values: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(part is not None for part in (self.column, self.constant, self.template)) != 1:
            raise ValueError("give exactly one of column, constant and template")
        if self.template is not None and not _PLACEHOLDER.search(self.template):
            raise ValueError(f"template {self.template!r} names no column; a fixed text is a constant")
        return self

    def parts(self) -> list[tuple[str, str | None, int]]:
        """The template as (text before, column or None at the end, zero-padded width or 0)."""
        found, position = [], 0
        text = self.template or ""
        for match in _PLACEHOLDER.finditer(text):
            found.append((text[position : match.start()], match[1], int(match[2] or 0)))
            position = match.end()
        return [*found, (text[position:], None, 0)]

    def source_columns(self) -> list[str]:
        """The columns of the input that this needs."""
        if self.column is not None:
            return [self.column]
        return [column for _, column, _ in self.parts() if column is not None]


class AmountSpec(_Strict):
    """A decimal amount times `scale` (a power of ten) gives minor units, rounded half up."""

    column: str
    scale: Literal[1, 10, 100, 1_000, 10_000] = 100

    def source_columns(self) -> list[str]:
        """The columns of the input that this needs."""
        return [self.column]


class TimeSpec(_Strict):
    """A time: a timestamp column, text (`format`: iso or strptime's), or numbers since 1970 (`unit`).

    `timezone` is that of times which do not carry one. Local times that a clock change skips or repeats are
    rejects.
    """

    column: str
    format: str = "iso"
    unit: Literal["s", "ms", "us", "ns"] = "s"
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {name!r}") from error
        return name

    def source_columns(self) -> list[str]:
        """The columns of the input that this needs."""
        return [self.column]


class LabelSpec(_Strict):
    """Truth columns. Without `observed_time` a label becomes known `delay_days` after the payment.

    `traffic` says whose label travels too, as an event at its observed time: none, fraud or all.
    """

    is_fraud: TextSpec
    scenario: TextSpec | None = None
    effective_time: TimeSpec | None = None
    observed_time: TimeSpec | None = None
    delay_days: Annotated[int, Field(ge=0, le=3650)] = 7
    traffic: LabelTraffic = "fraud"


class CsvSpec(_Strict):
    """How a CSV file is written. The first line names the columns; the text is UTF-8."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    newlines_in_values: bool = False


class Mapping(_Strict):
    """A whole mapping file. `columns` may give every field of the payment contract; the rest stay null."""

    revision: Annotated[str, Field(min_length=1)]
    scenario_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
    event_type: Literal["payment"] = "payment"
    primary_key: TextSpec
    ts_utc: TimeSpec
    amount_minor: AmountSpec
    columns: dict[str, TextSpec]
    labels: LabelSpec | None = None
    csv: CsvSpec = CsvSpec()

    @model_validator(mode="after")
    def _contract_fields(self) -> Self:
        own = {"ts_utc", "row_key", "amount_minor"}
        known = [name for name in PAYMENT_SCHEMA.names if name not in own]
        unknown = sorted(set(self.columns) - set(known))
        if unknown:
            raise ValueError(f"columns: {unknown} are not text fields of a payment; these are {known}")
        absent = [name for name in PAYMENT_RULES.required if name not in own and name not in self.columns]
        if absent:
            raise ValueError(f"columns: {absent} are required by the payment contract")
        return self

    def source_columns(self) -> list[str]:
        """Every column of the input that is needed, in a fixed order, once."""
        specs: list[TextSpec | AmountSpec | TimeSpec | None] = [
            self.primary_key,
            self.ts_utc,
            self.amount_minor,
            *self.columns.values(),
        ]
        if self.labels is not None:
            label = self.labels
            specs += [label.is_fraud, label.scenario, label.effective_time, label.observed_time]
        names = [name for spec in specs if spec is not None for name in spec.source_columns()]
        return list(dict.fromkeys(names))


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file (YAML). Raises MappingError."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Mapping.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingError(f"mapping file {path} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}"
            for item in error.errors()
        )
        raise MappingError(f"mapping file {path}: {problems}") from error
