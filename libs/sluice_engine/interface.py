"""What an engine is: a spec in, an unsealed world folder out. How it makes the world is its own business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sluice_oracle.draft import WorldDraft

Progress = Callable[[int, int], None]
"""Called with events done and events in all."""


class ParametersError(ValueError):
    """An engine does not take these parameters; the message names each wrong one."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What to make. The seed is not a parameter: two worlds of one parameter hash may differ by seed."""

    scenario_id: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict)


class WorldEngine(Protocol):
    """Anything that makes worlds. The same spec gives the same bytes for one `version`."""

    name: str
    version: str

    def generate(self, spec: EngineSpec, folder: Path, progress: Progress) -> WorldDraft:
        """Write an unsealed world into `folder` (made if missing) and say what it is.

        Raises ParametersError, FileExistsError for a folder that is in use.
        """
