"""The gate's committed state: policy, runs, held READYs, and the index of every key it admitted."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from services.ingestion_gate.model import Admission, Expired, HeldReady, KnownKeys, Run, RunKey, RunStatus
from services.ingestion_gate.overlay import GateOverlay, GateView
from services.ingestion_gate.policy import BUILT_IN, MICROSECONDS, GatePolicy, PolicyProblem
from sluice_kit.artifacts import ArtifactError
from sluice_kit.stage import Coordinate, FrozenState, Record
from sluice_kit.stage.snapshot_file import write_snapshot_file

SNAPSHOT_PREFIX = "gate-state-"
EXPIRE_EVERY = 3_600 * MICROSECONDS


class KeyIndex(KnownKeys, Protocol):
    """The dedupe index as the state uses it."""

    def add(
        self, admitted: Mapping[bytes, Admission], coordinates: Sequence[Coordinate], batch_no: int
    ) -> None:
        """Take the admissions of a committed batch in."""

    def freeze(self) -> FrozenState:
        """A snapshot in constant time."""

    def load(self, files: Sequence[Path]) -> None:
        """Replace the content by a sealed snapshot."""

    def clear(self) -> None:
        """Forget everything (before a rebuild)."""

    def expire(self, expired: Expired) -> None:
        """Keys that no answer depends on any more may be dropped, at any later time or never."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The small parts as bytes, the index by its own files."""

    content: bytes
    batch_no: int
    keys: FrozenState

    def write(self, folder: Path) -> list[Path]:
        path = write_snapshot_file(folder, f"{SNAPSHOT_PREFIX}{self.batch_no}", self.content, ".json")
        return [path, *self.keys.write(folder)]


class GateState:
    """Implements the kit's StageState for the gate."""

    def __init__(self, keys: KeyIndex) -> None:
        self._keys = keys
        self._view = GateView(BUILT_IN, {}, {}, keys)
        self._batch_no = -1
        self._expired_at = 0

    @property
    def keys(self) -> KeyIndex:
        """The dedupe index."""
        return self._keys

    def replace(self, view: GateView) -> None:
        """Take a rebuilt state in."""
        self._view = view

    @property
    def view(self) -> GateView:
        """What is committed; replaced, never changed, so any thread may read it."""
        return self._view

    def overlay(self) -> GateOverlay:
        """A scratch layer for one batch."""
        return GateOverlay(self._view)

    def apply(self, overlay: GateOverlay, coordinates: Sequence[Coordinate], batch_no: int) -> None:
        """Take a committed batch in."""
        if overlay.admitted:
            self._keys.add(overlay.admitted, coordinates, batch_no)
        view = self._view
        if overlay.policy is not None or overlay.runs or overlay.held:
            held = {key: waiting for key, waiting in {**view.held, **overlay.held}.items() if waiting}
            self._view = GateView(
                overlay.policy or view.policy, {**view.runs, **overlay.runs}, held, self._keys
            )
            self._expire(overlay.now)
        elif overlay.now - self._expired_at > EXPIRE_EVERY:
            self._expire(overlay.now)
        self._batch_no = batch_no

    def freeze(self) -> FrozenState:
        """A snapshot; the small parts are copied, the index freezes its newest rows."""
        return _Snapshot(_encode(self._view), self._batch_no, self._keys.freeze())

    def load(self, files: Sequence[Path]) -> None:
        """Replace the state by a sealed snapshot.

        Raises:
            ArtifactError: a file cannot be read; the state is as it was.
        """
        own = [path for path in files if path.name.startswith(SNAPSHOT_PREFIX)]
        if len(own) != 1:
            raise ArtifactError(f"a gate checkpoint has one file of policy and runs, this one {len(own)}")
        view = _decode(own[0], self._keys)
        self._keys.load([path for path in files if path not in own])
        self._view = view

    def _expire(self, now: int) -> None:
        """Tell the index what may go: keys of closed runs, and of standing runs beyond their horizon.

        Both are refused before the index is asked (RUN_CLOSED, BEYOND_DEDUPE_HORIZON), so it decides nothing.
        """
        self._expired_at = now
        runs = self._view.runs.values()
        self._keys.expire(
            Expired(
                closed_runs=tuple(run.run_no for run in runs if run.status is RunStatus.CLOSED),
                standing_runs=tuple(run.run_no for run in runs if run.standing),
                oldest_ts_utc=now - self._view.policy.limits.standing_horizon_seconds * MICROSECONDS,
            )
        )


def _encode(view: GateView) -> bytes:
    return orjson.dumps(
        {
            "policy": view.policy.model_dump(),
            "runs": [_run_fields(run) for run in view.runs.values()],
            "held": [
                {"tenant": key[0], "run_id": key[1], "waiting": [_held_fields(item) for item in waiting]}
                for key, waiting in view.held.items()
            ],
        }
    )


def _decode(path: Path, keys: KnownKeys) -> GateView:
    try:
        return _view(orjson.loads(path.read_bytes()), keys)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ArtifactError(f"the sealed gate state {path} cannot be read: {error!r}") from error


def _view(fields: Mapping[str, Any], keys: KnownKeys) -> GateView:
    policy = GatePolicy.parse(orjson.dumps(fields["policy"]))
    if isinstance(policy, PolicyProblem):
        raise ArtifactError(f"the sealed gate state holds a policy that cannot be read: {policy}")
    runs: dict[RunKey, Run] = {}
    for item in fields["runs"]:
        run = Run(**{**item, "status": RunStatus(item["status"])})
        runs[run.tenant, run.run_id] = run
    held = {
        (item["tenant"], item["run_id"]): tuple(_held(waiting) for waiting in item["waiting"])
        for item in fields["held"]
    }
    return GateView(policy, runs, held, keys)


def _run_fields(run: Run) -> dict[str, Any]:
    return {name: getattr(run, name) for name in Run.__slots__}


def _held_fields(held: HeldReady) -> dict[str, Any]:
    record = held.record
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": None if record.key is None else base64.b64encode(record.key).decode(),
        "value": None if record.value is None else base64.b64encode(record.value).decode(),
        "event_id": held.event_id,
        "since": held.since,
        "origin": held.origin,
    }


def _held(fields: Mapping[str, Any]) -> HeldReady:
    key, value = fields["key"], fields["value"]
    record = Record(
        fields["topic"],
        fields["partition"],
        fields["offset"],
        None if key is None else base64.b64decode(key),
        None if value is None else base64.b64decode(value),
    )
    return HeldReady(record, fields["event_id"], fields["since"], fields["origin"])
