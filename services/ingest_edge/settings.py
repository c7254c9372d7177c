"""Policy of the edge: limits and waiting times. Wiring is a separate file; tokens are a secret."""

from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from sluice_kit.config import FileSettings, PolicyError, load_settings

SERVICE: Final = "ingest_edge"
PRINCIPAL: Final = "edge"
TOKENS_SECRET: Final = "edge_tokens"
GATE_TOKEN_SECRET: Final = "token_edge"
RECEIPT_TOPIC: Final = "audit.receipt"
DECISION_TOPIC: Final = "traffic.decision"
DEFAULT_POLICY: Final = Path(__file__).with_name("policy.yaml")


class EdgePolicy(FileSettings):
    """What may change between deployments without a change of code. Times in seconds, sizes in bytes.

    The environment (`SLUICE_EDGE_EVENTS_PER_SECOND`) wins over the file.

    ``ack_wait_seconds`` is how long a request waits for the lane's acknowledgement before it answers 503;
    ``wait_seconds`` how long it then waits for the receipt when the client does not say (`Prefer: wait=`).
    ``promised_decisions`` that did not come in time are kept for ``promised_seconds`` after they were asked
    for; one has about 1 kB.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SLUICE_EDGE_")

    revision: str = Field(min_length=1, max_length=128)
    max_event_bytes: int = Field(default=1_000_000, ge=1_024, le=1_048_576)
    max_body_bytes: int = Field(default=8 * 2**20, ge=1_024, le=2**28)
    max_batch_events: int = Field(default=1_000, ge=1, le=100_000)
    events_per_second: float = Field(default=2_000, gt=0)
    burst_events: int = Field(default=4_000, ge=1)
    in_flight_events: int = Field(default=5_000, ge=1, description="of one principal")
    in_flight_events_total: int = Field(default=20_000, ge=1)
    wait_seconds: float = Field(default=2.0, ge=0, le=30)
    max_wait_seconds: float = Field(default=30.0, ge=0, le=300)
    ack_wait_seconds: float = Field(default=5.0, gt=0, le=60)
    retry_after_seconds: int = Field(default=2, ge=1, le=3_600)
    remembered_receipts: int = Field(default=20_000, ge=100)
    remembered_decisions: int = Field(default=20_000, ge=100)
    promised_decisions: int = Field(default=50_000, ge=100)
    promised_seconds: float = Field(default=600, gt=0, le=86_400)
    gate_timeout_seconds: float = Field(default=5.0, gt=0, le=60)
    decision_timeout_seconds: float = Field(default=5.0, gt=0, le=60)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.max_batch_events > min(self.burst_events, self.in_flight_events):
            raise ValueError(
                "max_batch_events must be at most burst_events and in_flight_events, "
                "or the largest batch could never be taken"
            )
        return self


def load_policy(path: Path = DEFAULT_POLICY) -> EdgePolicy:
    """Read a policy file (YAML). Raises PolicyError naming the file and every wrong key."""
    return load_settings(EdgePolicy, path, "policy", PolicyError)
