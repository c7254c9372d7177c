"""Settings of the scenario runner: wiring from one file, policy from another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice_kit.config import Wiring

SERVICE: Final = "scenario_runner"
LANE: Final = "ingress.scenario_runner"
CONTROL: Final = "control.run"
DEFAULT_POLICY: Final = Path(__file__).with_name("policy.yaml")


class PolicyError(ValueError):
    """The policy file is missing or wrong; the message names the file and the key."""


class Policy(BaseModel):
    """How strict verification is; ``revision`` stands in every receipt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    revision: str = Field(min_length=1, max_length=128)
    verify_output_bytes: bool = True


def load_policy(path: Path = DEFAULT_POLICY) -> Policy:
    """Read a policy file (YAML). Raises PolicyError."""
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise PolicyError(f"policy file {path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process is started with. ``instance`` tells instances apart in leases and logs."""

    wiring: Wiring
    policy: Policy
    instance: str
    host: str
    port: int
    lease_seconds: float = 5.0
