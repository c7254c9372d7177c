"""Looking over LightGBM's text form before LightGBM does: it aborts the process on some malformed trees.

Format: https://lightgbm.readthedocs.io, `Booster.model_to_string`: `key=value` lines of a header, then blocks
`Tree=i` of such lines, `end of trees`, and a part that predictions do not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_HEADER = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "objective": "binary sigmoid:1"}
_END = "end of trees"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,10}")
_SPLIT_NUMBERS = ("split_gain", "internal_value", "internal_weight")
_LARGEST = 2**31 - 1
_KINDS_OF_SPLIT = 15
MAX_TREES = 10_000


@dataclass(frozen=True, slots=True)
class ModelTextProblem:
    """Why a text is no model that can be used."""

    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a sound model text declares."""

    features: tuple[str, ...]
    trees: int


class _Malformed(Exception):
    pass


def read_model_text(text: str) -> ModelShape | ModelTextProblem:
    """Check the header and every tree: lengths, indices, and that its nodes form one binary tree."""
    try:
        return _read(text)
    except _Malformed as malformed:
        return ModelTextProblem(str(malformed))


def _read(text: str) -> ModelShape:
    head, *blocks = _blocks(text)
    header = _fields(head, "header")
    for key, wanted in _HEADER.items():
        if _get(header, key, "header") != wanted:
            raise _Malformed(f"header: {key} is {header[key]!r}, expected {wanted!r}")
    features = tuple(_get(header, "feature_names", "header").split(" "))
    if _get(header, "max_feature_idx", "header") != str(len(features) - 1):
        raise _Malformed(f"header: max_feature_idx does not fit {len(features)} feature_names")
    if len(_get(header, "feature_infos", "header").split(" ")) != len(features):
        raise _Malformed(f"header: feature_infos does not fit {len(features)} feature_names")
    if not 1 <= len(blocks) <= MAX_TREES:
        raise _Malformed(f"{len(blocks)} trees, expected 1 to {MAX_TREES}")
    sizes = " ".join(str(len(block.encode())) for block in blocks)
    if _get(header, "tree_sizes", "header") != sizes:
        raise _Malformed("header: tree_sizes does not fit the trees")
    for number, block in enumerate(blocks):
        _check_tree(number, block, len(features))
    return ModelShape(features, len(blocks))


def _blocks(text: str) -> list[str]:
    """The header's text and that of each tree, which begins with its `Tree=` line."""
    if not text.startswith("tree\n"):
        raise _Malformed("it does not begin with 'tree'")
    body, end, _ = text.partition(f"\n{_END}\n")
    if not end:
        raise _Malformed(f"it has no {_END!r}")
    head, *trees = (body + "\n").split("\nTree=")
    return [head, *("Tree=" + tree + ("" if last else "\n") for tree, last in _with_last(trees))]


def _with_last(trees: list[str]) -> list[tuple[str, bool]]:
    return [(tree, number == len(trees) - 1) for number, tree in enumerate(trees)]


def _fields(block: str, place: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in block.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            if key in fields:
                raise _Malformed(f"{place}: {key} stands twice")
            fields[key] = value
    return fields


def _get(fields: Mapping[str, str], key: str, place: str) -> str:
    if key not in fields:
        raise _Malformed(f"{place}: no {key}")
    return fields[key]


def _check_tree(number: int, block: str, features: int) -> None:
    place = f"tree {number}"
    fields = _fields(block, place)
    if _get(fields, "Tree", place) != str(number):
        raise _Malformed(f"{place}: stands as {fields['Tree']!r}")
    if _get(fields, "num_cat", place) != "0" or _get(fields, "is_linear", place) != "0":
        raise _Malformed(f"{place}: only numerical splits and constant leaves are served")
    [leaves] = _integers(fields, "num_leaves", place, 1)
    if leaves < 1:
        raise _Malformed(f"{place}: num_leaves is {leaves}")
    _finite(fields, "leaf_value", place, leaves)
    _finite(fields, "shrinkage", place, 1)
    if leaves > 1:
        _check_splits(fields, place, leaves, features)


def _check_splits(fields: Mapping[str, str], place: str, leaves: int, features: int) -> None:
    splits = leaves - 1
    _finite(fields, "leaf_weight", place, leaves)
    _integers(fields, "leaf_count", place, leaves)
    _integers(fields, "internal_count", place, splits)
    for key in _SPLIT_NUMBERS:
        _finite(fields, key, place, splits)
    _finite(fields, "threshold", place, splits, also="inf")  # a split of missing values from all others
    _within(_integers(fields, "split_feature", place, splits), features - 1, "split_feature", place)
    _within(_integers(fields, "decision_type", place, splits), _KINDS_OF_SPLIT, "decision_type", place)
    left = _integers(fields, "left_child", place, splits)
    right = _integers(fields, "right_child", place, splits)
    _check_links(left, right, leaves, place)


def _check_links(left: list[int], right: list[int], leaves: int, place: str) -> None:
    """Child k >= 0 is a node, ~k a leaf: walked from the root, each is met exactly once."""
    met: set[int] = set()
    waiting = [0]
    while waiting:
        one = waiting.pop()
        if one in met or not -leaves <= one < leaves - 1:
            raise _Malformed(f"{place}: its nodes are no tree (child {one})")
        met.add(one)
        if one >= 0:
            waiting += (left[one], right[one])
    if len(met) != 2 * leaves - 1:
        raise _Malformed(f"{place}: {2 * leaves - 1 - len(met)} of its nodes cannot be reached")


def _integers(fields: Mapping[str, str], key: str, place: str, count: int) -> list[int]:
    words = _get(fields, key, place).split(" ")
    if len(words) != count or not all(map(_INTEGER.fullmatch, words)):
        raise _Malformed(f"{place}: {key} is not {count} integers")
    numbers = list(map(int, words))
    if any(abs(number) > _LARGEST for number in numbers):
        raise _Malformed(f"{place}: {key} does not fit 32 bits")
    return numbers


def _finite(fields: Mapping[str, str], key: str, place: str, count: int, also: str = "") -> None:
    words = _get(fields, key, place).split(" ")
    sound = (word == also or (_NUMBER.fullmatch(word) and math.isfinite(float(word))) for word in words)
    if len(words) != count or not all(sound):
        raise _Malformed(f"{place}: {key} is not {count} finite numbers")


def _within(numbers: list[int], high: int, key: str, place: str) -> None:
    if any(not 0 <= number <= high for number in numbers):
        raise _Malformed(f"{place}: {key} leaves 0..{high}")
