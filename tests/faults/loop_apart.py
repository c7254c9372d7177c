"""The decision loop with each stage its own process, on a ladder that moves within seconds."""

from __future__ import annotations

import shutil
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from sluice_decisions.postures import Posture
from sluice_fleet import Deployment, Topology, load_topology
from sluice_fleet.topology import SEPARATE
from sluice_kit.config.wiring import POLICY_DIR
from sluice_substrate.secret_files import write_private
from tests.faults.loop_ground import CHAIN, LoopGround, workflows
from tests.faults.reading import payloads

STAGES: Final = ("ingestion_gate", *CHAIN)
MINIMUM_SECONDS: Final = 3
SECOND: Final = 1_000_000
# The features' report is needed every five seconds, the graph's less often: theirs tells when it is behind.
LADDER: Final = f"""
revision: ladder-faults-1
valid_for_seconds: 20
renew_every_seconds: 2
quiet_seconds: {{DEGRADED_1: 1, DEGRADED_2: 1, FAIL_CLOSED: 1}}
minimum_seconds: {MINIMUM_SECONDS}
start_quiet_seconds: 1
longest_override_seconds: 60
capabilities:
  NORMAL: [rules, model, attributions, graph_features]
  DEGRADED_1: [rules, model, attributions]
  DEGRADED_2: [rules]
  FAIL_CLOSED: []
scopes:
  all:
    signals:
      - {{service: entity_graph, name: status, max_age_seconds: 40}}
      - service: online_features
        name: status
        max_age_seconds: 5
        limits:
          DEGRADED_1: {{above: 0, for_seconds: 2}}
      - {{service: decision_fabric, name: status, max_age_seconds: 40}}
"""
DEADLINE_MS: Final = 1_000
"""Longer than the features wait for the graph, and long enough for the processes of a busy machine."""


def apart_topology(folder: Path) -> Topology:
    """Gate and stages of the loop as the shipped separate topology has them, and workflows of these tests."""
    stages = [member for member in load_topology(SEPARATE).members if member.service in STAGES]
    return Topology(name="loop-apart", members=(*stages, *workflows(folder)))


def wire_policy(deployment: Deployment, folder: Path) -> None:
    """Let the stages run on the shipped policy with the ladder and the deadline of these tests."""
    policy = folder / "policy"
    shutil.copytree(POLICY_DIR, policy)
    (policy / "degrade_ladder.yaml").write_text(LADDER, encoding="utf-8")
    actions = policy / "decision_actions.yaml"
    given = yaml.safe_load(actions.read_text(encoding="utf-8"))
    actions.write_text(yaml.safe_dump(given | {"deadline_ms": DEADLINE_MS}), encoding="utf-8")
    wiring = yaml.safe_load(deployment.wiring_file.read_text(encoding="utf-8"))
    write_private(deployment.wiring_file, yaml.safe_dump(wiring | {"policy_dir": str(policy)}))


def postures_since(loop: LoopGround, sequence: int) -> list[dict[str, Any]]:
    """Payloads of the postures of everybody from one on, as they were said."""
    return [one for one in payloads(loop.wiring, "control.posture") if one["sequence"] >= sequence]


def last_posture(loop: LoopGround) -> int:
    """The sequence of the posture that was said last."""
    sequence: int = payloads(loop.wiring, "control.posture")[-1]["sequence"]
    return sequence


def rungs(postures: list[dict[str, Any]]) -> list[str]:
    """The rungs in turn, without those that only renew."""
    return [rung for rung, _ in groupby(one["posture"] for one in postures)]


def assert_climbs_slowly(postures: list[dict[str, Any]]) -> int:
    """Every step up is of one rung, `MINIMUM_SECONDS` after the rung below was taken; how many there are."""
    order = list(Posture)
    steps = 0
    for before, after in pairwise(postures):
        climbed = order.index(before["posture"]) - order.index(after["posture"])
        if climbed > 0:
            assert climbed == 1
            assert after["since"] - before["since"] >= MINIMUM_SECONDS * SECOND
            steps += 1
    return steps
