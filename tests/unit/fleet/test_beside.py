"""What stands beside the services ends with them, also from another process's view of the home."""

from pathlib import Path

from sluice_fleet import Fleet, Topology
from sluice_fleet.topology import CHAINED, load_topology
from sluice_kit.testing.waiting import until
from sluice_substrate.processes import find_marked


def test_what_stands_beside_the_services_ends_with_all_of_them_only(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, Topology(name="tests", members=()))
    mark = str(tmp_path / "wiring.yaml")
    fleet.start_beside("helper", ["-c", "import time; print('here', flush=True); time.sleep(600)"])
    until(lambda: "here" in fleet.log("helper").read_text(encoding="utf-8"), "it to run", 60)
    fleet.stop(["another"])
    assert find_marked(mark)
    Fleet(tmp_path, Topology(name="tests", members=())).stop()
    until(lambda: find_marked(mark) == [], "it to end", 30)


def test_the_stages_of_the_loop_share_the_gates_process_unless_asked_otherwise() -> None:
    assert load_topology() == load_topology(CHAINED)
    gate = next(member for member in load_topology().members if member.service == "ingestion_gate")
    assert {"entity_graph", "online_features", "degrade_ladder", "decision_fabric"} <= set(gate.chained)
