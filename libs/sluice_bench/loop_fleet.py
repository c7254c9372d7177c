"""The loop as the bench runs it: its chain in one process or in five, action layer and log beside."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from sluice_bench.gate_process import GateProcess
from sluice_bench.loop_traffic import gate_policy
from sluice_fleet import Fleet, Topology, load_topology
from sluice_fleet.topology import CHAINED, SEPARATE
from sluice_substrate import LocalStack

BESIDE: Final = ("action_layer", "decision_log")
STAGES: Final = (
    "ingestion_gate",
    "entity_graph",
    "online_features",
    "degrade_ladder",
    "decision_fabric",
    "flow_meter",
)
_TOOL_SECONDS: Final = 300.0


class LoopProcesses:
    """The processes of a running loop, and how much CPU each has used."""

    def __init__(self, home: Path, chain: GateProcess | None, fleet: Fleet) -> None:
        self._home = home
        self._chain = chain
        self._fleet = fleet

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time by process so far; `chain` is all stages where they share one."""
        used = {} if self._chain is None else {"chain": self._chain.cpu_seconds()}
        for name in self._fleet.running():
            process = self._fleet.process_record(name).process()
            if process is not None:
                used[name] = sum(process.cpu_times()[:2])
        broker = LocalStack(self._home)._process("kafka")  # noqa: SLF001 - nobody else asks for its CPU
        process = None if broker is None else broker.process()
        if process is not None:
            used["broker"] = sum(process.cpu_times()[:2])
        return used


@contextmanager
def running_chain(home: Path, *arguments: str) -> Iterator[LoopProcesses]:
    """The chain in one process with the others beside; drained at the end, killed when the block fails."""
    fleet = Fleet(home, deployed(CHAINED, BESIDE))
    chain = chain_process(home, *arguments)
    try:
        fleet.start()
        chain.wait_ready()
        yield LoopProcesses(home, chain, fleet)
    except BaseException:
        chain.kill()
        fleet.stop()
        raise
    chain.drain()
    fleet.stop()


@contextmanager
def running_separate(home: Path) -> Iterator[LoopProcesses]:
    """Every stage its own process."""
    fleet = Fleet(home, deployed(SEPARATE, (*STAGES, *BESIDE)))
    try:
        fleet.start()
        yield LoopProcesses(home, None, fleet)
    finally:
        fleet.stop()


def chain_process(home: Path, *arguments: str) -> GateProcess:
    """The gate's process with the chain, started as it is deployed."""
    (gate,) = deployed(CHAINED, (STAGES[0],)).members
    return GateProcess(home, *gate.command(), *arguments, priority=gate.priority)


def deployed(topology: Path, names: Sequence[str]) -> Topology:
    """Those members of a deployed topology that the bench needs."""
    members = tuple(member for member in load_topology(topology).members if member.service in names)
    return Topology(name="bench", members=members)


def train_and_activate(home: Path, events: int) -> dict[str, Any]:
    """Make a world, train a bundle on it and put it in force, with the tools that a user has."""
    wiring = ("--wiring", str(home / "wiring.yaml"), "--json")
    _tool("policy", "apply", str(_policy_file(home)), *wiring)
    world = _tool("world", "generate", "--events", str(events), "--seed", "8", *wiring)
    trained = _tool("bundle", "train", world["uri"], *wiring)
    uri = trained["manifest"]["uri"]
    _tool("bundle", "activate", uri, "--reason", "bench", *wiring)
    return {"bundle": trained["revision"], "payments": trained["payments"]}


def _policy_file(home: Path) -> Path:
    path = home / "bench-gate-policy.yaml"
    path.write_text(yaml.safe_dump(gate_policy()), encoding="utf-8")
    return path


def per_payment(before: Mapping[str, float], after: Mapping[str, float], payments: int) -> dict[str, float]:
    """CPU microseconds a payment by process, and in all."""
    used = {name: (after[name] - before.get(name, 0.0)) / payments * 1e6 for name in after}
    return {name: round(us, 1) for name, us in used.items()} | {"all": round(sum(used.values()), 1)}


def _tool(*arguments: str) -> dict[str, Any]:
    """One `sluice` command's JSON answer. Raises RuntimeError with what it said."""
    done = subprocess.run(
        [sys.executable, "-c", "from sluice_cli.main import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=_TOOL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"sluice {' '.join(arguments[:2])}: {(done.stdout + done.stderr)[-500:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
