"""Says what is wrong with bytes that a generated reader refused: which field, and cut or malformed."""

from __future__ import annotations

from typing import Any

from sluice_contracts.wire import MalformedError, count_at, int_at, long_at, text_bounds

Json = dict[str, Any]


class _CutError(Exception):
    """The bytes end inside a field."""


def diagnose(schema: Json, value: bytes, start: int) -> tuple[bool, str, int]:
    """Walk ``value`` from ``start`` along ``schema``: (whole record read, sentence, where reading ended).

    Not whole and the sentence starts with ``cut`` when bytes are missing, else they are malformed.
    """
    walk = _Walk(value, start)
    try:
        walk.visit(schema, {}, schema["name"])
    except IndexError:
        return False, f"cut: the bytes end inside {walk.place}", walk.at
    except _CutError as error:
        return False, f"cut: {walk.place}: {error}", walk.at
    except MalformedError as error:
        return False, f"{walk.place}: {error}", walk.at
    return True, "", walk.at


class _Walk:
    def __init__(self, value: bytes, start: int) -> None:
        self.value = value
        self.at = start
        self.place = ""

    def visit(self, node: Any, named: dict[str, Json], place: str) -> None:
        self.place = place
        if isinstance(node, str) and node in named:
            node = named[node]
        if isinstance(node, list):
            self._union(node, named, place)
            return
        kind = node["type"] if isinstance(node, dict) else node
        match kind:
            case "record":
                named[f"{node['namespace']}.{node['name']}"] = node
                for field in node["fields"]:
                    self.visit(field["type"], named, f"{place}.{field['name']}")
            case "array" | "map":
                self._blocks(node, named, place)
            case "string" | "bytes":
                self._text(kind)
            case "int":
                _, self.at = int_at(self.value, self.at)
            case "boolean":
                self._flag()
            case _:
                _, self.at = long_at(self.value, self.at)

    def _union(self, node: list[Any], named: dict[str, Json], place: str) -> None:
        branch = self.value[self.at]
        self.at += 1
        if branch == 2:
            self.visit(node[1], named, place)
        elif branch:
            raise MalformedError(f"no branch {branch} in a union of two")

    def _blocks(self, node: Json, named: dict[str, Json], place: str) -> None:
        count, self.at = count_at(self.value, self.at)
        while count:
            for _ in range(count):
                if node["type"] == "map":
                    self.place = f"{place} key"
                    self._text("string")
                self.visit(node["items" if node["type"] == "array" else "values"], named, f"{place}[]")
            count, self.at = count_at(self.value, self.at)

    def _text(self, kind: str) -> None:
        start, end = text_bounds(self.value, self.at)
        if end > len(self.value):
            raise _CutError(f"{end - start} bytes announced, {len(self.value) - start} left")
        if kind == "string":
            try:
                self.value[start:end].decode()
            except UnicodeDecodeError as error:
                raise MalformedError(f"not UTF-8: {error.reason} at byte {error.start}") from error
        self.at = end

    def _flag(self) -> None:
        if self.value[self.at] > 1:
            raise MalformedError("a boolean is neither 0 nor 1")
        self.at += 1
