"""Secrets reach a process at run time only, by name: environment first, then one file a secret."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class SecretMissing(LookupError):
    """A named secret is in neither place; the message says both, never a value."""


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Looks a secret up by name.

    `SLUICE_SECRET_<NAME>` (upper case) in the environment wins over the file `<directory>/<name>`.
    """

    directory: Path | None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def get(self, name: str) -> str:
        """The secret called `name`, without a trailing newline. Raises SecretMissing."""
        variable = f"SLUICE_SECRET_{name.upper()}"
        if value := self.environment.get(variable):
            return value
        path = self.directory / name if self.directory else None
        if path is not None and path.is_file():
            return path.read_text(encoding="utf-8").rstrip("\n")
        places = f"environment variable {variable}" + (f" or file {path}" if path else "")
        raise SecretMissing(f"secret {name!r} not found: set {places}")
