"""Documents that steer decisions: read from YAML or JSON, or refused with one problem that says where."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice_kit.artifacts import canonical_json

Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
Millionths = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
MinorUnits = Annotated[int, Field(strict=True, ge=0, le=10**15)]


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    """Why a document cannot be used: which one, where in it, what is wrong."""

    source: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.where}: {self.message}"


class Part(BaseModel):
    """A part of a document: frozen, and nothing in it that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Part):
    """A document with a revision for people and a fingerprint for machines."""

    revision: Revision

    @classmethod
    def parse(cls, text: str | bytes, source: str) -> Self | DocumentProblem:
        """Read YAML or JSON; `source` (a file name, a URI) begins the message of a DocumentProblem."""
        try:
            content = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            return DocumentProblem(source, *_yaml_problem(error))
        except UnicodeDecodeError as error:
            return DocumentProblem(source, f"byte {error.start}", "not UTF-8")
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            return DocumentProblem(source, *_schema_problem(error, content))

    def canonical(self) -> bytes:
        """JSON with sorted keys, every default written out: what is sealed and fingerprinted."""
        return canonical_json(self.model_dump(mode="json"))

    def fingerprint(self) -> str:
        """sha256 (hex) of the canonical form."""
        return hashlib.sha256(self.canonical()).hexdigest()


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys; a policy must not lose one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable) and name in seen:
                raise yaml.MarkedYAMLError(problem=f"{name!r} stands twice", problem_mark=key.start_mark)
            seen.add(name if isinstance(name, Hashable) else id(key))
        return super().construct_mapping(node, deep)


def _yaml_problem(error: yaml.YAMLError) -> tuple[str, str]:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}", str(error.problem)
    return "top level", str(error).splitlines()[0]


def _schema_problem(error: ValidationError, content: object) -> tuple[str, str]:
    """The first problem; an element of a list is named by its id as well, where it has one."""
    first = error.errors(include_url=False)[0]
    words: list[str] = []
    for step in first["loc"]:
        words.append(str(step))
        content = _inside(content, step)
        if isinstance(step, int) and isinstance(content, dict) and isinstance(content.get("id"), str):
            words[-1] = f"{step} ({content['id']})"
    more = f" ({error.error_count()} problems)" if error.error_count() > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    return ".".join(words) or "top level", message + more


def _inside(content: object, step: str | int) -> object:
    if isinstance(content, dict):
        return content.get(step)
    if isinstance(content, list) and isinstance(step, int) and step < len(content):
        return content[step]
    return None
