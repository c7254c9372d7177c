"""The worlds that the demo plays: one that the engine makes, or a file of the user's own."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sluice_cli.demo_waiting import DemoError
from sluice_engine import EngineSpec, ReferenceEngine
from sluice_kit.artifacts import ArtifactError, SealConflict, open_oracle
from sluice_kit.config import Wiring
from sluice_oracle import DraftError, describe, seal_world, verify_world
from sluice_oracle.importer import ImportRefused, MappingError, SourceError, import_world, load_mapping
from sluice_oracle.importer.sources import open_source
from sluice_oracle.manifest import Role

Progress = Callable[[int, int | None], None]
"""Called with rows done and rows in all (None while unknown)."""
EVERY_OUTCOME_FROM: Final = 20_000
"""A made world of so many payments has some of each outcome; the rarest is that of one in 600."""


class WorldSource(Protocol):
    """Where the demo's payments come from."""

    @property
    def title(self) -> str:
        """What it is, for the story."""
        ...

    @property
    def every_outcome(self) -> bool:
        """Whether its payments have to be allowed, stepped up, reviewed and declined, each at least once."""
        ...

    def check(self) -> None:
        """Look at the input before anything is started. Raises DemoError."""
        ...

    def make(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Write an unsealed world into a new folder; returns facts about it. Raises DemoError."""
        ...


@dataclass(frozen=True, slots=True)
class EngineWorld:
    """A world that the reference engine makes."""

    events: int
    seed: int

    @property
    def title(self) -> str:
        """What it is, for the story."""
        return "A world of card payments with fraud, made by the reference engine"

    @property
    def every_outcome(self) -> bool:
        """It has fraud of every kind, if it is not too small."""
        return self.events >= EVERY_OUTCOME_FROM

    def check(self) -> None:
        """The engine takes any number and seed."""

    def make(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Generate it."""
        ReferenceEngine().generate(EngineSpec("demo", self.seed, {"events": self.events}), folder, progress)
        return {"seed": self.seed}


@dataclass(frozen=True, slots=True)
class FileWorld:
    """A Parquet or CSV file of the user's own. `max_rejects` is a share (0..1), `rejects` takes such rows."""

    file: Path
    mapping: Path
    max_rejects: float
    sort: bool
    rejects: Path

    @property
    def title(self) -> str:
        """What it is, for the story."""
        return f"The payments of {self.file.name}, by the mapping {self.mapping.name}"

    @property
    def every_outcome(self) -> bool:
        """A file may well hold nothing to decline."""
        return False

    def check(self) -> None:
        """Whether file and mapping can be read and fit each other. Raises DemoError."""
        try:
            open_source(self.file, load_mapping(self.mapping))
        except (MappingError, SourceError) as error:
            raise DemoError(str(error)) from error

    def make(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """Import it. Raises DemoError naming the commonest reasons when too many rows are rejected."""
        try:
            outcome = import_world(
                self.file,
                load_mapping(self.mapping),
                folder,
                max_rejects=self.max_rejects,
                sort=self.sort,
                progress=progress,
            )
        except (MappingError, SourceError) as error:
            raise DemoError(str(error)) from error
        if outcome.rejected:
            shutil.copyfile(outcome.rejects_path, self.rejects)
        if isinstance(outcome, ImportRefused):
            why = outcome.why.replace(str(outcome.rejects_path), str(self.rejects))
            reasons = sorted(outcome.reasons.items(), key=lambda item: -item[1])[:5]
            told = "; ".join(f"{count:,} x {reason}" for reason, count in reasons)
            raise DemoError(f"{self.file} became no world: {why}" + (f". Reasons: {told}" if told else ""))
        return {"file": self.file.name, "rows": outcome.read, "rejected": outcome.rejected}


@dataclass(frozen=True, slots=True)
class SealedWorld:
    """A world that may be played: its address, what it streams, and facts for the answer.

    `every_outcome`: whether each of the four outcomes has to be among its decisions.
    """

    uri: str
    payments: int
    labels: int
    facts: dict[str, Any]
    every_outcome: bool

    @property
    def events(self) -> int:
        """Everything that it streams."""
        return self.payments + self.labels


def sealed_world(source: WorldSource, wiring: Wiring, progress: Progress) -> SealedWorld:
    """Make, seal and verify a world. Raises DemoError, also when a gate says that nobody may read it."""
    store = open_oracle(wiring)
    try:
        with tempfile.TemporaryDirectory(dir=store.local_path(".staging")) as folder:
            facts = source.make(Path(folder), progress)
            world = seal_world(Path(folder), store, datetime.now(UTC))
        if isinstance(world, SealConflict):
            raise DemoError(f"the world could not be sealed: {world}")
        report = verify_world(world)
    except (ArtifactError, DraftError, OSError) as error:
        raise DemoError(f"the world could not be made: {error}") from error
    if not report.ok:
        raise DemoError(f"the sealed world does not verify: {report.bad}")
    about = describe(world)
    failed = [
        f"{gate['gate_id']} ({', '.join(gate['failed_checks'])})"
        for gate in about["gates"]
        if gate["gate_id"] in about["failed_gates"]
    ]
    if failed:
        raise DemoError(f"nobody may read this world, its gates say FAIL: {'; '.join(failed)}")
    payments, labels = (_streamed(about, event_type) for event_type in ("payment", "label"))
    told = {"uri": world.uri, "payments": payments, "labels": labels}
    return SealedWorld(world.uri, payments, labels, told | facts, source.every_outcome)


def _streamed(about: dict[str, Any], event_type: str) -> int:
    """Rows of an event type that a world streams."""
    outputs = [output for output in about["outputs"] if output["role"] == Role.BUSINESS_TRAFFIC.value]
    return sum(output["rows"] for output in outputs if output["event_type"] == event_type)
