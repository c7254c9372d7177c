"""Policy of the decision log (how long it waits, how often it seals). Wiring is a separate file."""

from pathlib import Path
from typing import Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.decision_log.links import TOPIC_OF, Kind
from sluice_kit.config import FileSettings, PolicyError, Wiring, load_settings

SERVICE: Final = "decision_log"
PRINCIPAL: Final = "decision_log"
LANE: Final = "ingress.decision_log"
CONSUMES: Final = (*TOPIC_OF.values(),)
PROJECTIONS: Final = (TOPIC_OF[Kind.SNAPSHOT],)
"""Topics that forget by design: a chain whose snapshot is gone is recorded as one that lacks it."""
MIGRATIONS: Final = "services.decision_log"
LOG: Final = "sluice.decision_log"
DEFAULT_POLICY: Final = Path(__file__).with_name("policy.yaml")


class LogPolicy(FileSettings):
    """What may change between deployments without a change of code; see policy.yaml."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SLUICE_DECISION_LOG_")

    revision: str = Field(min_length=1, max_length=128)
    wait_seconds: float = Field(default=30.0, gt=0, le=86_400)
    seal_seconds: float = Field(default=2.0, gt=0, le=3_600)
    seal_records: int = Field(default=20_000, ge=1, le=1_000_000)
    most_waiting: int = Field(default=100_000, ge=1, le=5_000_000)


def load_policy(path: Path = DEFAULT_POLICY) -> LogPolicy:
    """Read a policy file (YAML). Raises PolicyError naming the file and every wrong key."""
    return load_settings(LogPolicy, path, "policy", PolicyError)


def origin_of(wiring: Wiring) -> str:
    """The name under which this deployment's heads are signed."""
    return f"{LOG}/{wiring.environment}"


def nodes_folder(wiring: Wiring) -> Path:
    """Where the writer keeps the tree's node files; they can be made anew."""
    return wiring.state_dir / SERVICE / "nodes"
