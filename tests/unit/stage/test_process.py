"""How services come together in one process."""

from pathlib import Path

import pytest

from services.flow_meter.stage import FlowMeterStage, make_member
from sluice_kit.artifacts import open_store
from sluice_kit.config import Wiring
from sluice_kit.stage import MemberRun, StageError, StageSettings
from sluice_kit.stage.process import Member, StageArguments, _hooks, member_of
from sluice_kit.telemetry import Health


def test_a_service_is_chained_by_its_name() -> None:
    assert member_of("flow_meter") is make_member
    for name in ("no_such_service", "scenario_runner"):
        with pytest.raises(StageError, match=f"{name} cannot be chained"):
            member_of(name)


def test_hooks_are_given_their_own_members_run() -> None:
    seen: list[tuple[str, str]] = []

    def hook(name: str) -> Member:
        return Member(
            FlowMeterStage(), after_commit=[lambda runs: seen.extend((name, run.stage.name) for run in runs)]
        )

    class Named(FlowMeterStage):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    runs = [MemberRun(Named(name), None) for name in ("first", "second")]
    for called in _hooks([hook("a"), hook("b")]):
        called(runs)
    assert seen == [("a", "first"), ("b", "second")]


def test_a_gate_that_does_not_serve_is_its_stage_alone(tmp_path: Path, wiring: Wiring) -> None:
    given = StageArguments(wiring, 0, 0, StageSettings(), serves=False)
    member = member_of("ingestion_gate")(given, open_store(tmp_path / "artifacts"), Health("gate"))
    assert member.stage.name == "ingestion_gate"
    assert (member.routers, member.background, member.after_commit) == ((), (), ())


@pytest.fixture
def wiring(tmp_path: Path) -> Wiring:
    return Wiring(
        kafka={"bootstrap_servers": "nowhere:1"},  # type: ignore[arg-type]
        artifacts={"root": str(tmp_path / "artifacts")},  # type: ignore[arg-type]
        oracle={"root": str(tmp_path / "oracle")},  # type: ignore[arg-type]
        state_dir=tmp_path / "state",
    )


def test_policy_files_are_those_of_the_checkout_unless_the_wiring_names_others(
    wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (wiring.policy_dir / "ingestion_gate.yaml").is_file()
    monkeypatch.setenv("SLUICE_POLICY_DIR", "/etc/sluice/policy")
    assert Wiring(**wiring.model_dump(exclude={"policy_dir"})).policy_dir == Path("/etc/sluice/policy")
