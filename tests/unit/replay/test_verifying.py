"""Where a verification begins, and which of several differences explains the others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from services.flow_meter.stage import FlowMeterStage
from sluice_contracts import encode
from sluice_kit.artifacts import ArtifactStore, Locator, open_store
from sluice_kit.replay import ReplayError
from sluice_kit.replay.difference import Kind, OutputDifference
from sluice_kit.replay.history import _cause, begin
from sluice_kit.stage import ChainSpec, MemberRun, TrailingOutput
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.checkpoint import Checkpointer, CheckpointPoint
from sluice_kit.stage.restore import MemberHistory
from tests.unit.ingestion_gate.events import payment

CHAIN = "first+second"


class Named(FlowMeterStage):
    def __init__(self, name: str, inputs: Sequence[str] = ()) -> None:
        super().__init__()
        self.name, self.inputs = name, inputs


class Log:
    """A basis log in memory; announcements repeat the number of the batch before them."""

    def __init__(self, records: Sequence[BasisRecord]) -> None:
        self.records = list(records)

    def since(self, offset: int) -> list[tuple[int, BasisRecord]]:
        return list(enumerate(self.records))[offset:]

    def checkpoints(self) -> list[Locator]:
        found = {r.checkpoint.uri: r.checkpoint for r in self.records if r.checkpoint is not None}
        return list(reversed(found.values()))


def record(
    number: int, chain: str | None, checkpoint: Locator | None = None, now: int | None = None
) -> BasisRecord:
    return BasisRecord(
        "s", 0, number, [], number if now is None else now, "r", "t-0", "", chain=chain, checkpoint=checkpoint
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "artifacts")


@pytest.fixture
def spec() -> ChainSpec:
    return ChainSpec((Named("first"), Named("second")))


def checkpoint_at(store: ArtifactStore, folder: Path, name: str, batch_no: int) -> Locator:
    keeper = Checkpointer(store, folder / "made" / name, service=name, shard=0, code_rev="r")
    keeper.start(Named(name).state.freeze(), CheckpointPoint(batch_no, batch_no, batch_no + 1, {}))
    locator = keeper.finished(wait_seconds=30)
    assert locator is not None
    return locator


def members(
    spec: ChainSpec, store: ArtifactStore, folder: Path, logs: Mapping[str, Sequence[BasisRecord]]
) -> list[MemberHistory]:
    return [
        MemberHistory(
            stage,
            0,
            Log(logs[stage.name]),  # type: ignore[arg-type]
            Checkpointer(store, folder / stage.name, service=stage.name, shard=0, code_rev="r"),
        )
        for stage in spec.members
    ]


def pending(found: Sequence[MemberHistory]) -> list[list[int]]:
    return [[record.batch_no for _, record in member.pending] for member in found]


def test_a_history_of_one_topology_begins_at_its_start(
    spec: ChainSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    log = [record(number, CHAIN) for number in (0, 0, 1, 2, 2)]
    # the second member's log was read before the running chain wrote its third batch
    found = members(spec, store, tmp_path, {"first": log, "second": log[:3]})
    assert begin(spec, found, from_checkpoint=False) == 0
    assert pending(found) == [[0, 1], [0, 1]]


def test_after_a_change_of_topology_it_begins_at_the_checkpoint_between(
    spec: ChainSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    logs = {}
    for name, last in (("first", 3), ("second", 1)):
        drained = checkpoint_at(store, tmp_path, name, last)
        before = [record(number, None, now=number) for number in range(last + 1)]
        behind = [record(last, CHAIN, drained), *(record(last + n, CHAIN, now=10 + n) for n in (1, 2))]
        logs[name] = [*before, *behind]
    found = members(spec, store, tmp_path, logs)
    assert begin(spec, found, from_checkpoint=False) == 4
    assert pending(found) == [[4, 5], [2, 3]]

    store.prune(logs["second"][-3].checkpoint or pytest.fail("it has one"))
    with pytest.raises(ReplayError, match="second: batches up to 1") as refused:
        begin(spec, members(spec, store, tmp_path / "again", logs), from_checkpoint=False)
    assert refused.value.code == "TOPOLOGY_CHANGED"


def test_from_a_checkpoint_means_from_the_older_of_the_two(
    spec: ChainSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    logs = {}
    for name in ("first", "second"):
        older, newer = (checkpoint_at(store, tmp_path, name, at) for at in (1, 3))
        logs[name] = [record(n, CHAIN, older if n == 2 else newer if n > 3 else None) for n in range(5)]
    found = members(spec, store, tmp_path, logs)
    assert begin(spec, found, from_checkpoint=True) == 2
    assert pending(found) == [[2, 3, 4], [2, 3, 4]]


def test_checkpoints_of_different_batches_are_not_taken_for_one(
    spec: ChainSpec, store: ArtifactStore, tmp_path: Path
) -> None:
    logs = {}
    for name, at in (("first", 1), ("second", 2)):
        made = checkpoint_at(store, tmp_path, name, at)
        logs[name] = [record(n, CHAIN, made if n == 3 else None) for n in range(6)]
    with pytest.raises(ReplayError) as refused:
        begin(spec, members(spec, store, tmp_path, logs), from_checkpoint=True)
    assert refused.value.code == "CHECKPOINTS_APART"


def test_the_output_named_is_that_of_the_member_that_made_the_event() -> None:
    """The head states what a member gave it, so its fact differs, too; the member's own explains it."""
    head = MemberRun(Named("head", ("ingress.lane",)), None)
    made = encode("payment", 1, payment("from-lane"))
    member = MemberRun(Named("member"), None, trailing=[TrailingOutput("ingress.lane", None, made)])
    handed = OutputDifference(Kind.CHANGED, "traffic.payment", None, "from-lane")
    own = OutputDifference(Kind.CHANGED, "state.x", None, "context")
    read = OutputDifference(Kind.CHANGED, "traffic.payment", None, "read-by-the-head")
    assert _cause([head, member], [(head, handed), (member, own)]) is own
    assert _cause([head, member], [(head, handed), (member, None)]) is handed
    assert _cause([head, member], [(head, read), (member, own)]) is read
