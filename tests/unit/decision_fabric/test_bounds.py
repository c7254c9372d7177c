"""What is kept is bounded, and a checkpoint holds all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.decision_fabric import intake, lists, state
from services.decision_fabric.state import DecidedWindow, DecisionState
from sluice_kit.artifacts import ArtifactError
from sluice_kit.stage import Batch
from tests.unit.decision_fabric.parts import Fabric

MakeFabric = Callable[..., Fabric]


def test_the_oldest_payment_beyond_the_bound_is_decided_at_once(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_WAITING", 2)
    for number in range(3):
        fabric.pay(f"e{number}")
    fabric.driver.step()
    assert [one["subject_event_id"] for one in fabric.decisions()] == ["e0"]


def test_the_oldest_snapshot_beyond_the_bound_is_dropped_and_counted(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_EARLY", 2)
    fabric.snapshot("e0")
    fabric.driver.step()
    fabric.snapshot("e1")
    fabric.snapshot("e2")
    fabric.driver.step()
    for number in range(3):
        fabric.pay(f"e{number}")
    fabric.driver.step()
    assert sorted(one["subject_event_id"] for one in fabric.decisions()) == ["e1", "e2"]
    fabric.driver.advance(1)
    assert fabric.signalled()["dropped_snapshots"] == 1


def test_a_full_list_refuses_and_counts(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_ENTRIES", 1)
    fabric.change_list("blocked", "T9")
    fabric.change_list("blocked", "T9")
    fabric.change_list("blocked", "T1")
    fabric.decide("e1")
    fabric.driver.advance(1)
    assert fabric.signalled()["list_full"] == 1
    assert [one["outcome"] for one in fabric.decisions()] == ["ALLOW"]


def test_removing_twice_counts_once(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_ENTRIES", 1)
    for operation in ("ADD", "REMOVE", "REMOVE", "ADD"):
        fabric.change_list("blocked", "T1", operation)
        fabric.driver.step()
    assert fabric.decide("e1")[0]["reason_codes"][0] == "TERMINAL_BLOCKED"
    fabric.driver.advance(1)
    assert fabric.signalled()["list_full"] == 0


def test_the_window_forgets_the_oldest_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "REMEMBERED", 3)
    window = DecidedWindow()
    for batch in (["a", "b"], [], ["c"], ["d", "e"]):
        window.add(batch)
    assert [key in window for key in "abcde"] == [False, False, True, True, True]
    assert DecidedWindow(window.batches()).batches() == window.batches()


def test_a_restart_goes_on_with_what_was_waiting(make: MakeFabric) -> None:
    fabric = make().ready()
    fabric.change_list("blocked", "T1", tenant="acme")
    fabric.pay("e1")
    fabric.snapshot("e2")
    fabric.decide("e0")
    fabric.restart()
    fabric.snapshot("e1")
    fabric.pay("e2")
    fabric.pay("e0")
    fabric.driver.step()
    fabric.driver.advance(1)
    assert [one["subject_event_id"] for one in fabric.decisions()] == ["e0", "e1", "e2"]
    assert [one["mode"] for one in fabric.decisions()] == ["MODEL"] * 3
    assert fabric.decide("e3", tenant="acme")[-1]["reason_codes"][0] == "TERMINAL_BLOCKED"


def test_a_broken_checkpoint_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "decision_fabric-open-1-abc.json"
    path.write_bytes(b"{")
    with pytest.raises(ArtifactError, match="decision_fabric-open-"):
        DecisionState().load([path])
    with pytest.raises(ArtifactError, match="decision_fabric-open-"):
        DecisionState().load([])


def test_an_abandoned_batch_leaves_nothing(fabric: Fabric) -> None:
    fabric.pay("e1")
    records, fabric.driver._waiting = fabric.driver._waiting, []
    overlay = fabric.stage.state.overlay()
    fabric.stage.state.freeze()
    fabric.stage.step(overlay, Batch(fabric.driver.now, records))
    assert overlay.open.waiting
    assert not fabric.stage.state.overlay().open.waiting
