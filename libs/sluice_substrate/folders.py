"""Where a stack keeps its things: everything under one home, downloads in a cache outside it."""

import os
from dataclasses import dataclass
from pathlib import Path


def download_cache() -> Path:
    """Folder of downloaded jars, shared by all stacks of a user.

    `SLUICE_CACHE_DIR`, else `$XDG_CACHE_HOME/sluice`, else `~/.cache/sluice`.
    """
    if chosen := os.environ.get("SLUICE_CACHE_DIR"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sluice"


@dataclass(frozen=True, slots=True)
class Home:
    """Layout of one stack's folder; `root` is absolute."""

    root: Path

    @property
    def kafka(self) -> Path:
        """Broker: `server.properties`, `formatted.json`, `data/` (the log dirs)."""
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        """Database: `data/` (the cluster) and `initialised.json`."""
        return self.root / "postgres"

    @property
    def secrets(self) -> Path:
        """One file a secret, mode 0600."""
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        """One `<component>.log` each."""
        return self.root / "logs"

    @property
    def wiring(self) -> Path:
        """The wiring file that services are started with."""
        return self.root / "wiring.yaml"

    @property
    def record(self) -> Path:
        """`stack.json`: ports and processes of the components."""
        return self.root / "stack.json"

    def log(self, component: str) -> Path:
        """Log file of a component."""
        return self.logs / f"{component}.log"

    def create(self) -> None:
        """Make the folders (idempotent); the secrets folder is private."""
        for folder in (self.root, self.kafka, self.postgres, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)
