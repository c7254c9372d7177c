"""The gate's policy: data with a revision, handed to the gate as an event like everything that steers it."""

import hashlib
from typing import Annotated, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

MICROSECONDS = 1_000_000
DAY_SECONDS = 86_400


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Part):
    """Sizes in bytes, times in seconds."""

    max_event_bytes: Annotated[int, Field(ge=1_024, le=1_048_576)] = 1_048_576
    max_future_seconds: Annotated[int, Field(ge=0)] = 300
    evidence_wait_seconds: Annotated[int, Field(ge=1)] = 120
    standing_horizon_seconds: Annotated[int, Field(ge=3_600)] = 7 * DAY_SECONDS


class PartitionProfile(_Part):
    """How the record key of an event type is made: a name for receipts and a dotted path into the event."""

    profile: str
    path: str


class TenantPolicy(_Part):
    """`standing_run` is the run of publishers that have none; None: every event needs a run."""

    standing_run: str | None = None


class PublisherPolicy(_Part):
    """What an outside publisher may do through the HTTP edge or a lane of its own."""

    tenants: tuple[str, ...] = ("default",)
    event_types: tuple[str, ...] = ("payment",)


class GatePolicy(_Part):
    """Everything the gate may be told without a release."""

    revision: Annotated[str, Field(min_length=1, max_length=64)]
    limits: Limits = Limits()
    partition_profiles: dict[str, PartitionProfile]
    tenants: dict[str, TenantPolicy]
    publishers: dict[str, PublisherPolicy] = {}

    @classmethod
    def parse(cls, text: str | bytes) -> "Self | PolicyProblem":
        """Read a policy from JSON; a PolicyProblem says what is wrong with it."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "top level"
            return PolicyProblem(f"{where}: {first['msg']} ({error.error_count()} problems)")

    def canonical(self) -> bytes:
        """Sorted JSON: what its fingerprint is taken over."""
        return orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)

    def fingerprint(self) -> str:
        """sha256 (hex) of the canonical form."""
        return hashlib.sha256(self.canonical()).hexdigest()


class PolicyProblem(str):
    """Why a policy cannot be used."""

    __slots__ = ()


BUILT_IN = GatePolicy(
    revision="built-in",
    partition_profiles={
        "payment": PartitionProfile(profile="customer", path="payload.customer_id"),
        "label": PartitionProfile(profile="customer", path="payload.customer_id"),
        "run_ready": PartitionProfile(profile="run", path="run_id"),
        "run_closed": PartitionProfile(profile="run", path="run_id"),
        "run_evidence": PartitionProfile(profile="run", path="run_id"),
        "flow_report": PartitionProfile(profile="run", path="run_id"),
        "gate_policy": PartitionProfile(profile="event", path="event_id"),
        "governance_action": PartitionProfile(profile="event", path="event_id"),
    },
    tenants={"default": TenantPolicy(standing_run="standing")},
)
"""In force until a policy event arrives, so that a fresh stack starts without one."""
