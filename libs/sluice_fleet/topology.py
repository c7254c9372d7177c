"""Which services run, and which stages share a process: deployment data (`deploy/topologies/*.yaml`)."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sluice_substrate.priority import Priority

_FOLDER = Path(__file__).parents[2] / "deploy" / "topologies"
CHAINED = _FOLDER / "chained.yaml"
"""The stages share the gate's process and its transaction; what is run unless asked otherwise."""
SEPARATE = _FOLDER / "separate.yaml"
"""Every service its own process."""


class TopologyError(ValueError):
    """The topology file is missing or wrong; the message names the file and the key."""


class Member(BaseModel):
    """One process: a service, the stages chained behind it, extra arguments, and who runs first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    chained: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    priority: Priority = Priority.ORDINARY

    def command(self) -> list[str]:
        """Arguments after `python -m services.<service>` and the wiring."""
        chain = ["--chain", ",".join(self.chained)] if self.chained else []
        return [*chain, *self.arguments]


class Topology(BaseModel):
    """The processes of a deployment, in start order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    members: tuple[Member, ...]


def services(*names: str) -> tuple[Member, ...]:
    """Each service as a process of its own."""
    return tuple(Member(service=name) for name in names)


def load_topology(path: Path = CHAINED) -> Topology:
    """Read a topology file; without one, the stages are chained in the gate. Raises TopologyError."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Topology.model_validate(content)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise TopologyError(f"topology file {path}: {error}") from error
