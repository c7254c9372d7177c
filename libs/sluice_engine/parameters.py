"""The reference engine's parameters. Their canonical JSON is the world's parameter hash."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluice_oracle.columns import LabelTraffic

Share = Annotated[float, Field(ge=0, le=0.2)]


class FraudShares(BaseModel):
    """Share of all events that each scenario aims at. Small worlds get at least one case of each above 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card_testing: Share = 0.002
    compromised_terminal: Share = 0.003
    account_takeover: Share = 0.003

    @property
    def total(self) -> float:
        """Share of events that are fraud."""
        return self.card_testing + self.compromised_terminal + self.account_takeover


class WorldParameters(BaseModel):
    """Size, time span and fraud of a world. `events` is exact, fraud included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Annotated[int, Field(ge=100, le=1_000_000_000)] = 1_000_000
    customers: Annotated[int, Field(ge=10, le=10_000_000)] = 20_000
    terminals: Annotated[int, Field(ge=40, le=2_000_000)] = 4_000
    days: Annotated[int, Field(ge=1, le=3_660)] = 30
    start: date = date(2026, 1, 1)
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    label_delay_days: Annotated[int, Field(ge=0, le=365)] = 7
    label_traffic: LabelTraffic = "fraud"
    fraud: FraudShares = FraudShares()

    @model_validator(mode="after")
    def _room_for_customers(self) -> WorldParameters:
        if self.fraud.total > 0.5:
            raise ValueError("more than half of the events would be fraud")
        return self

    @property
    def start_micros(self) -> int:
        """Midnight UTC of the first day in microseconds since 1970."""
        midnight = datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)
        return int(midnight.timestamp()) * 1_000_000

    @property
    def end_micros(self) -> int:
        """The moment after the last day."""
        return self.start_micros + self.days * DAY_MICROS


DAY_MICROS = 86_400_000_000
HOUR_MICROS = 3_600_000_000
