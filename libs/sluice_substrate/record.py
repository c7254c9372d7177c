"""`stack.json`: which ports and processes a home's components have. Replaced in one step at each change."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sluice_substrate.processes import ProcessRecord
from sluice_substrate.secret_files import write_private


@dataclass(frozen=True, slots=True)
class ComponentRecord:
    """A component as last started; `process` is None after a stop, the ports are kept for the next start."""

    ports: tuple[int, ...]
    process: ProcessRecord | None = None


@dataclass(slots=True)
class StackRecord:
    """All components by name."""

    components: dict[str, ComponentRecord] = field(default_factory=dict)


def load(path: Path) -> StackRecord:
    """The record, an empty one where there is none or a kill left it unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return StackRecord(
            {
                name: ComponentRecord(
                    tuple(entry["ports"]), ProcessRecord(**entry["process"]) if entry["process"] else None
                )
                for name, entry in content["components"].items()
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return StackRecord()


def save(path: Path, record: StackRecord) -> None:
    """Write the record."""
    write_private(path, json.dumps(asdict(record), indent=2) + "\n")
