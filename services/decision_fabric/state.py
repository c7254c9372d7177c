"""The fabric's state: what steers decisions by key, and what is under way as a small whole.

Bundles, postures and list entries are keyed values with incremental checkpoints. Payments and snapshots that
wait are few (a deadline's worth), so a batch works on copies and a checkpoint holds all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from services.decision_fabric.model import SERVICE, EarlySnapshot, Payment
from sluice_kit.artifacts import ArtifactError
from sluice_kit.places import Place
from sluice_kit.stage import Coordinate, FrozenState
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.stage.snapshot_file import write_snapshot_file

REMEMBERED: Final = 65_536
"""How many decided payments are remembered, to tell late snapshots from early ones and to decide none twice.
The gate's dedupe is the second net: a decision's id is derived from its payment."""
_OPEN: Final = f"{SERVICE}-open-"

Positions = dict[Place, int]
"""Exclusive-next offset by topic and partition."""


@dataclass(slots=True)
class OpenCases:
    """What is under way, as of one batch; never changed once it is committed."""

    waiting: dict[str, Payment] = field(default_factory=dict)
    early: dict[str, EarlySnapshot] = field(default_factory=dict)
    positions: Positions = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    signalled: int = 0

    def copied(self) -> OpenCases:
        """A batch's own copy."""
        return OpenCases(
            self.waiting.copy(), self.early.copy(), self.positions.copy(), self.counts.copy(), self.signalled
        )


class DecidedWindow:
    """Keys of the payments that were decided last, bounded; batches of keys, oldest first."""

    def __init__(self, batches: Sequence[Sequence[str]] = ()) -> None:
        self._batches: deque[Sequence[str]] = deque(batches)
        self._keys = {key for batch in self._batches for key in batch}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def among(self, keys: Iterable[str]) -> set[str]:
        """Those of some keys that are remembered."""
        return self._keys.intersection(keys)

    def add(self, keys: Sequence[str]) -> None:
        """Remember a batch and forget the oldest ones beyond the bound."""
        if not keys:
            return
        self._batches.append(keys)
        self._keys.update(keys)
        while len(self._keys) > REMEMBERED and len(self._batches) > 1:
            self._keys.difference_update(self._batches.popleft())

    def batches(self) -> list[Sequence[str]]:
        """What a checkpoint holds."""
        return list(self._batches)


@dataclass(slots=True)
class DecisionOverlay:
    """One batch's changes. `open` is this batch's own copy, `before` the positions ahead of the batch.

    `decided` maps keys of payments to the framed decisions of this batch.
    """

    registry: KeyedOverlay
    open: OpenCases
    before: Positions
    window: DecidedWindow
    decided: dict[str, bytes] = field(default_factory=dict)

    def decided_among(self, keys: Iterable[str]) -> set[str]:
        """Those of some payments that were decided lately, before this batch."""
        return self.window.among(keys)


@dataclass(frozen=True, slots=True)
class _Frozen:
    registry: FrozenState
    open: OpenCases
    decided: list[Sequence[str]]
    batch_no: int

    def write(self, folder: Path) -> list[Path]:
        content = orjson.dumps(
            {
                "waiting": list(self.open.waiting.items()),
                "early": list(self.open.early.items()),
                "positions": {
                    f"{topic}|{number}": following
                    for (topic, number), following in self.open.positions.items()
                },
                "counts": self.open.counts,
                "signalled": self.open.signalled,
                "decided": self.decided,
            },
            default=list,
        )
        path = write_snapshot_file(folder, f"{_OPEN}{self.batch_no}", content, ".json")
        return [*self.registry.write(folder), path]


class DecisionState:
    """Implements the kit's StageState."""

    def __init__(self) -> None:
        self._registry = KeyedState(SERVICE)
        self._open = OpenCases()
        self._window = DecidedWindow()
        self._batch_no = -1

    @property
    def values(self) -> Mapping[str, Any]:
        """Committed bundles, postures and list entries, by key."""
        return self._registry.values

    @property
    def next_deadline(self) -> int | None:
        """By when the payment that waits longest is to be decided; None when none waits."""
        oldest = next(iter(self._open.waiting.values()), None)
        return None if oldest is None else oldest.deadline

    def overlay(self) -> DecisionOverlay:
        """A layer for one batch."""
        return DecisionOverlay(
            self._registry.overlay(), self._open.copied(), self._open.positions, self._window
        )

    def apply(self, overlay: DecisionOverlay, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed batch in."""
        self._registry.apply(overlay.registry, coordinates, batch_no)
        self._open = overlay.open
        self._window.add(list(overlay.decided))
        self._batch_no = batch_no

    def freeze(self) -> FrozenState:
        """Constant time but for the list of the window's batches."""
        return _Frozen(self._registry.freeze(), self._open, self._window.batches(), self._batch_no)

    def load(self, files: Sequence[Path]) -> None:
        """Replace everything by a sealed snapshot.

        Raises:
            ArtifactError: a file cannot be read; the state is as it was.
        """
        parts = [path for path in files if path.name.startswith(_OPEN)]
        try:
            (path,) = parts
            content = orjson.loads(path.read_bytes())
            opened = OpenCases(
                {key: Payment(*item) for key, item in content["waiting"]},
                {key: EarlySnapshot(*item) for key, item in content["early"]},
                {_place(name): following for name, following in content["positions"].items()},
                content["counts"],
                content["signalled"],
            )
            window = DecidedWindow(content["decided"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ArtifactError(f"the snapshot holds no readable {_OPEN}*.json: {error}") from error
        self._registry.load([path for path in files if path not in parts])
        self._open, self._window = opened, window


def _place(name: str) -> Place:
    topic, _, partition = name.rpartition("|")
    return topic, int(partition)
