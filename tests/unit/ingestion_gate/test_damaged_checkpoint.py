"""A checkpoint of the gate that cannot be read is refused whole, so that the one before it can be taken."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from services.ingestion_gate.disk_keys import MANIFEST_PREFIX, DiskKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import SNAPSHOT_PREFIX, GateState
from sluice_kit.artifacts import ArtifactError
from sluice_kit.index import IndexSettings
from sluice_kit.stage import ChainSpec
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import WSP, framed, open_run, payment

Damage = Callable[[list[Path]], list[Path]]
PAYMENTS = 20
KEPT = IndexSettings(memtable_rows=8, fan_in=2, merge_rest=0.0)


def one(files: list[Path], start: str) -> Path:
    (found,) = (path for path in files if path.name.startswith(start))
    return found


def rewritten(start: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(files: list[Path]) -> list[Path]:
        path = one(files, start)
        path.write_bytes(change(path.read_bytes()))
        return files

    return damage


def without(start: str) -> Damage:
    return lambda files: [path for path in files if not path.name.startswith(start)]


def with_field(name: str, value: object) -> Callable[[bytes], bytes]:
    return lambda content: orjson.dumps(orjson.loads(content) | {name: value})


def segment_cut(files: list[Path]) -> list[Path]:
    path = next(path for path in files if not path.name.startswith((MANIFEST_PREFIX, SNAPSHOT_PREFIX)))
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])
    return files


@pytest.fixture
def lived(tmp_path: Path) -> tuple[DiskKeys, GateState, list[Path]]:
    """A gate's keys on disk, its state with payments of one run, and the sealed files."""
    keys = DiskKeys(tmp_path / "keys", KEPT)
    state = GateState(keys)
    gate = TopologyDriver(ChainSpec([GateStage(state)]))
    open_run(gate)
    for number in range(PAYMENTS):
        gate.pipe(WSP, framed(payment(f"e{number}")))
    gate.step()
    return keys, state, state.freeze().write(tmp_path / "keys")


@pytest.mark.parametrize(
    "damage",
    [
        without(SNAPSHOT_PREFIX),
        rewritten(SNAPSHOT_PREFIX, lambda content: content[:-1]),
        rewritten(SNAPSHOT_PREFIX, lambda _: b"[]"),
        rewritten(SNAPSHOT_PREFIX, with_field("policy", {"rules": 1})),
        rewritten(SNAPSHOT_PREFIX, with_field("runs", [{"status": "GONE"}])),
        rewritten(SNAPSHOT_PREFIX, with_field("held", [{"tenant": "acme"}])),
        without(MANIFEST_PREFIX),
        rewritten(MANIFEST_PREFIX, lambda content: content[:-1]),
        rewritten(MANIFEST_PREFIX, with_field("index", "{}")),
        segment_cut,
    ],
)
def test_it_is_refused_and_the_state_stays_as_it_was(
    lived: tuple[DiskKeys, GateState, list[Path]], damage: Damage
) -> None:
    keys, state, files = lived
    view, rows, good = state.view, keys.index.status().rows, {path: path.read_bytes() for path in files}
    assert rows >= PAYMENTS
    with pytest.raises(ArtifactError):
        state.load(damage(files))
    assert state.view is view
    assert keys.index.status().rows == rows

    for path, content in good.items():
        path.unlink()
        path.write_bytes(content)
    state.load(files)
    assert state.view.runs == view.runs
    assert keys.index.status().rows == rows
