"""Policy of the producer (how fast, how much at once) and how it is started. Wiring is a separate file."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import SettingsConfigDict

from services.world_stream_producer.pacing import parse_speed
from services.world_stream_producer.sending import SendLimits
from sluice_kit.config import FileSettings, PolicyError, load_settings

SERVICE: Final = "world_stream_producer"
PRINCIPAL: Final = "world_stream_producer"
LANE: Final = "ingress.world_stream_producer"
CONTROL_TOPIC: Final = "control.run"
DEFAULT_POLICY: Final = Path(__file__).with_name("policy.yaml")


class StreamPolicy(FileSettings):
    """What may change between deployments without a change of code. Every stream records `revision`.

    `speed` is domain seconds per second: 1.0 is real time, 0 or "max" as fast as possible.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SLUICE_WSP_")

    revision: str = Field(min_length=1, max_length=128)
    speed: Annotated[float, BeforeValidator(parse_speed)] = 0.0
    checkpoint_seconds: float = Field(default=0.5, gt=0, le=60)
    batch_rows: int = Field(default=8192, ge=1, le=65_536)
    max_streams: int = Field(default=8, ge=1, le=64)
    in_flight_messages: int = Field(default=50_000, ge=1, le=1_000_000)
    in_flight_bytes: int = Field(default=64 * 2**20, ge=2**20, le=2**30)
    drain_seconds: float = Field(default=20.0, gt=0, le=300)

    @property
    def send_limits(self) -> SendLimits:
        """How much one stream may have unacknowledged."""
        return SendLimits(self.in_flight_messages, self.in_flight_bytes)


def load_policy(path: Path = DEFAULT_POLICY) -> StreamPolicy:
    """Read a policy file (YAML). Raises PolicyError naming the file and every wrong key."""
    return load_settings(StreamPolicy, path, "policy", PolicyError)
