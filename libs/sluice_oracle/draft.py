"""An unsealed world: a folder of Parquet files and a `world.json` that says what they are.

This is the interface pack of an engine: whatever writes such a folder is an engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sluice_oracle.manifest import Engine, Role

DRAFT_NAME = "world.json"
_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"


class DraftError(ValueError):
    """The folder is not an unsealed world; the message says which file and what is wrong."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DraftOutput(_Frozen):
    """One output. `files` are relative to the folder, in row order."""

    output_id: str = Field(pattern=_ID)
    role: Role
    event_type: str | None = None
    primary_key: str
    schema_version: int = 1
    files: tuple[str, ...] = Field(min_length=1)
    references: dict[str, str] = Field(
        default_factory=dict, description="column to the output whose primary key it names"
    )

    @field_validator("files")
    @classmethod
    def _inside(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for name in files:
            if name.startswith("/") or ".." in Path(name).parts:
                raise ValueError(f"{name!r} leaves the world's folder")
        return files


class WorldDraft(_Frozen):
    """What an engine says about the folder it wrote."""

    engine: Engine
    scenario_id: str = Field(pattern=_ID)
    seed: int | None = None
    parameters: dict[str, Any]
    outputs: tuple[DraftOutput, ...] = Field(min_length=1)
    notes: dict[str, Any] = Field(default_factory=dict, description="what else a reader should know; hashed")
    corridors: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="output to the lowest and highest share of is_fraud that it may have",
    )

    def save(self, folder: Path) -> None:
        """Write world.json; an engine does this last."""
        (folder / DRAFT_NAME).write_bytes(
            orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        )


def load_draft(folder: Path) -> WorldDraft:
    """Read a folder's world.json and see that its files exist. Raises DraftError."""
    path = folder / DRAFT_NAME
    try:
        draft = WorldDraft.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DraftError(f"{path} is missing; an engine or the importer writes it last") from error
    except ValidationError as error:
        raise DraftError(f"{path}: {error}") from error
    names = [output.output_id for output in draft.outputs]
    if len(set(names)) != len(names):
        raise DraftError(f"{path}: output ids are not unique: {names}")
    for output in draft.outputs:
        for name in output.files:
            if not (folder / name).is_file():
                raise DraftError(f"{path}: output {output.output_id} names {name}, which does not exist")
        for target in output.references.values():
            if target not in names:
                raise DraftError(f"{path}: output {output.output_id} references unknown output {target}")
    return draft
