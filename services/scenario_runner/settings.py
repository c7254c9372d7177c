"""Settings of the scenario runner: wiring from one file, policy from another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from sluice_kit.config import FileSettings, PolicyError, Wiring, load_settings

SERVICE: Final = "scenario_runner"
LANE: Final = "ingress.scenario_runner"
CONTROL: Final = "control.run"
DEFAULT_POLICY: Final = Path(__file__).with_name("policy.yaml")


class Policy(FileSettings):
    """How strict verification is; ``revision`` stands in every receipt."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SLUICE_SR_")

    revision: str = Field(min_length=1, max_length=128)
    verify_output_bytes: bool = True


def load_policy(path: Path = DEFAULT_POLICY) -> Policy:
    """Read a policy file (YAML). Raises PolicyError naming the file and every wrong key."""
    return load_settings(Policy, path, "policy", PolicyError)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process is started with. ``instance`` tells instances apart in leases and logs."""

    wiring: Wiring
    policy: Policy
    instance: str
    host: str
    port: int
    lease_seconds: float = 5.0
