"""What became of a run's payments: from the truth of its world, or from the labels on the bus."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sluice_cli.recorded_run import BusHistory
from sluice_cli.world_commands import opened_world
from sluice_cli.world_training import payment_outputs
from sluice_kit.artifacts import Locator, open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.replay import ReplayError
from sluice_oracle import Role, World, iter_batches, load_world

LABELS: Final = "traffic.label"
READY: Final = "control.run"


@dataclass(frozen=True, slots=True)
class Truth:
    """Frauds by payment id; every other payment counts as genuine. `source` says where that comes from."""

    source: str
    frauds: AbstractSet[str]

    def fraud(self, payment_id: str) -> bool:
        """Whether a payment is fraud."""
        return payment_id in self.frauds


def world_of_run(history: BusHistory, wiring: Wiring, run: tuple[str, str], instead: str) -> World:
    """The world that a run streams, by the facts view that its READY names.

    Raises ReplayError TRUTH_UNKNOWN for a run without READY, naming the options to give `instead`.
    """
    for fields in history.events(READY, run):
        view = fields["payload"].get("facts_view")
        if fields["event_type"] == "run_ready" and view is not None:
            content = orjson.loads(open_artifacts(wiring).read(Locator.model_validate(view)))
            return load_world(open_oracle(wiring), Locator.model_validate(content["world"]))
    raise ReplayError("TRUTH_UNKNOWN", f"{run[1]} has no READY that names a world: give {instead}")


def named_world(uri: str, wiring_file: Path, worlds: AbstractSet[str]) -> World:
    """A world by URI or folder; `worlds` are the fingerprints in the run's events.

    Raises ReplayError WORLD_DIFFERS when the run's payments are not from it.
    """
    world = opened_world(uri, wiring_file, None)
    if worlds != {world.manifest.manifest_fingerprint}:
        of = ", ".join(sorted(worlds))
        raise ReplayError(
            "WORLD_DIFFERS",
            f"{uri} has fingerprint {world.manifest.manifest_fingerprint}, the run's payments are of {of}",
        )
    return world


def truth_of(world: World) -> Truth:
    """The frauds of a world, read batch by batch. Raises WorldError where the world has no truth."""
    rows: set[str] = set()
    for output in payment_outputs(world, Role.TRUTH):
        for batch in iter_batches(world, output, columns=("row_key", "is_fraud")):
            chosen = batch.filter(batch["is_fraud"].cast(pa.bool_()))
            rows.update(chosen["row_key"].cast(pa.string()).to_pylist())
    keys = pa.array(sorted(rows), pa.string())
    frauds: set[str] = set()
    for output in payment_outputs(world, Role.BUSINESS_TRAFFIC):
        for batch in iter_batches(world, output, columns=("row_key", "payment_id")):
            chosen = batch.filter(pc.is_in(batch["row_key"].cast(pa.string()), value_set=keys))
            frauds.update(chosen["payment_id"].cast(pa.string()).to_pylist())
    return Truth(world.uri, frauds)


def labelled(history: BusHistory, run: tuple[str, str]) -> Truth:
    """The frauds that labels on the bus name: of a payment's labels the last observed one holds."""
    last: dict[str, tuple[int, bool]] = {}
    for fields in history.events(LABELS, run):
        said = fields["payload"]
        observed = said["observed_time"], said["label"] == "FRAUD"
        last[said["payment_id"]] = max(observed, last.get(said["payment_id"], observed))
    return Truth(LABELS, {payment_id for payment_id, (_, fraud) in last.items() if fraud})
