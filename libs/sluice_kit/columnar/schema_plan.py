"""Turn a record schema into the flat list of steps that writes one row."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import fastavro

from sluice_kit.columnar.errors import UnsupportedFieldError

ColumnKind = Literal["string", "bytes", "int", "long", "boolean", "enum", "texts", "numbers", "list"]
_SCALARS: Final[dict[str, ColumnKind]] = {
    "string": "string",
    "bytes": "bytes",
    "int": "int",
    "long": "long",
    "boolean": "boolean",
}
_LISTS: Final[dict[str, ColumnKind]] = {"string": "texts", "int": "numbers", "long": "numbers"}


@dataclass(frozen=True, slots=True)
class ConstantStep:
    """Bytes that are the same in every row."""

    encoded: bytes


@dataclass(frozen=True, slots=True)
class ColumnStep:
    """One field whose values come from a column.

    `null_branch` and `value_branch` are the encoded union branches, both empty for a required field.
    """

    path: str
    kind: ColumnKind
    symbols: tuple[str, ...]
    null_branch: bytes
    value_branch: bytes

    @property
    def nullable(self) -> bool:
        """Whether a null in the column is allowed."""
        return bool(self.null_branch)


Step = ConstantStep | ColumnStep


def plan_row(
    schema: Mapping[str, Any], prefix: bytes, constants: Mapping[str, Any], *, lists: bool = False
) -> tuple[Step, ...]:
    """List the steps that write one row: `prefix`, then every field of `schema` in order.

    A field whose dotted path is in `constants` is encoded here, once; every other field becomes a column.
    Neighbouring constants are folded into one step. With `lists`, a list that is never null is a column too,
    of the kind `texts`, `numbers` or, where its items are neither, `list`: for readers, which can pass over
    it.

    Raises:
        UnsupportedFieldError: a field is neither constant nor of a type that a column can hold, or
            `constants` names a field that the schema does not have.
    """
    walker = _Walker(constants, lists=lists)
    steps: list[Step] = []
    pending = bytearray(prefix)
    parsed = fastavro.parse_schema(dict(schema))  # names become full names; a parsed schema stays as it is
    for step in walker.record(parsed, ""):
        if isinstance(step, ConstantStep):
            pending += step.encoded
            continue
        if pending:
            steps.append(ConstantStep(bytes(pending)))
            pending.clear()
        steps.append(step)
    if pending:
        steps.append(ConstantStep(bytes(pending)))
    unknown = sorted(set(constants) - walker.used)
    if unknown:
        names = ", ".join(unknown)
        raise UnsupportedFieldError(f"constants for fields that the schema does not have: {names}")
    return tuple(steps)


class _Walker:
    def __init__(self, constants: Mapping[str, Any], *, lists: bool) -> None:
        self._constants = constants
        self._lists = lists
        self._named: dict[str, Mapping[str, Any]] = {}
        self.used: set[str] = set()

    def record(self, schema: Any, parent: str) -> Iterator[Step]:
        for field in schema["fields"]:
            path = f"{parent}{field['name']}"
            resolved = self._resolve(field["type"])
            if path in self._constants:
                self.used.add(path)
                yield ConstantStep(self._encode_constant(field["type"], path))
            elif isinstance(resolved, Mapping) and resolved["type"] == "record":
                yield from self.record(resolved, f"{path}.")
            else:
                yield self._column(path, resolved)

    def _resolve(self, schema: Any) -> Any:
        """Replace a type name by its definition and remember the definitions met on the way."""
        if isinstance(schema, str):
            return self._named.get(schema, schema)
        if isinstance(schema, Mapping):
            inner = schema["type"]
            if "name" in schema:
                self._named[schema["name"]] = schema
            elif isinstance(inner, Mapping | list):
                return self._resolve(inner)
            return schema
        return [self._resolve(branch) for branch in schema]

    def _column(self, path: str, resolved: Any) -> ColumnStep:
        null_branch = value_branch = b""
        if isinstance(resolved, list):
            null_at = [index for index, branch in enumerate(resolved) if _type_name(branch) == "null"]
            if len(resolved) != 2 or len(null_at) != 1:
                raise UnsupportedFieldError(
                    f"{path}: a union other than [null, X] can only be a constant of the batch"
                )
            null_branch, value_branch = (b"\x00", b"\x02") if null_at[0] == 0 else (b"\x02", b"\x00")
            resolved = resolved[1 - null_at[0]]
        name = _type_name(resolved)
        if name == "enum":
            return ColumnStep(path, "enum", tuple(resolved["symbols"]), null_branch, value_branch)
        if name == "array" and self._lists and not value_branch:
            items = resolved["items"]
            listed = _LISTS.get(items, "list") if isinstance(items, str) else "list"
            return ColumnStep(path, listed, (), b"", b"")
        kind = _SCALARS.get(name)
        if kind is None:
            raise UnsupportedFieldError(f"{path}: Avro type {name!r} can only be a constant of the batch")
        return ColumnStep(path, kind, (), null_branch, value_branch)

    def _encode_constant(self, schema: Any, path: str) -> bytes:
        expanded = self._expand(schema)
        sink = io.BytesIO()
        try:
            fastavro.schemaless_writer(sink, fastavro.parse_schema(expanded), self._constants[path])
        except (ValueError, TypeError, AttributeError) as error:
            raise UnsupportedFieldError(
                f"{path}: the constant {self._constants[path]!r} does not fit the schema: {error}"
            ) from error
        return sink.getvalue()

    def _expand(self, schema: Any) -> Any:
        """Return a schema that parses alone: a first reference by name becomes the definition."""
        resolved = self._resolve(schema)
        if isinstance(resolved, Mapping):
            return {key: value for key, value in resolved.items() if key != "__fastavro_parsed__"}
        return resolved


def _type_name(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    name = schema["type"]
    return name if isinstance(name, str) else _type_name(name)
