"""One broker and one database for all fault tests, apart from those of other tests: here they get killed."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sluice_fleet import Deployment, Topology, load_topology
from sluice_substrate import Component
from tests.faults.gate_process import StageProcess
from tests.faults.loop_apart import apart_topology, wire_policy
from tests.faults.loop_ground import LoopGround, Receiver, loop_topology
from tests.faults.one_gate import OneGate
from tests.faults.proving_ground import ProvingGround
from tests.faults.spine import SPINE

PACE = 2_400
"""Domain seconds a second: a world of one day streams for about 36 s."""


@contextmanager
def fresh_deployment(*components: Component, topology: Topology | None = None) -> Iterator[Deployment]:
    """Components, topics, access and tokens under a folder of their own; no service runs yet."""
    home = Path(tempfile.mkdtemp(prefix="sluice-faults-"))
    deployment = Deployment(home, topology or load_topology(), bound=True)
    try:
        deployment.substrate_up(components=components)
        yield deployment
    finally:
        deployment.down()
        if "SLUICE_KEEP_TEST_STACK" not in os.environ:
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def fault_home() -> Iterator[Path]:
    """Broker and database of all fault tests that leave them usable."""
    with fresh_deployment("kafka", "postgres") as deployment:
        yield deployment.home


@pytest.fixture(scope="module")
def alone() -> Iterator[OneGate]:
    """A broker for one module: what happens here cannot be undone elsewhere."""
    with fresh_deployment("kafka") as deployment:
        yield OneGate(deployment)


@pytest.fixture(scope="module")
def ground(fault_home: Path) -> Iterator[ProvingGround]:
    """Each service of the spine apart, the repository's policy in force; drained (not killed) at the end."""
    deployment = Deployment(fault_home, SPINE, bound=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_WSP_SPEED", str(PACE))
        deployment.stack.up(("kafka", "postgres"))
        deployment.fleet.start()
        place = ProvingGround(deployment)
        place.steps.use_policy()
        yield place
        assert deployment.fleet.stop() == []


@contextmanager
def running_loop(
    folder: Path, topology: Topology, wire: Callable[[Deployment], None] | None = None
) -> Iterator[LoopGround]:
    """A decision loop on a broker of its own; drained (not killed) at the end. `wire` alters the wiring."""
    receiver = Receiver(folder / "receiver")
    with fresh_deployment("kafka", "postgres", topology=topology) as deployment:
        receiver.wire(deployment)
        if wire is not None:
            wire(deployment)
        try:
            receiver.start()
            yield LoopGround(deployment, receiver).up()
            assert deployment.fleet.stop() == []
        finally:
            receiver.stop()


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopGround]:
    """The decision loop, chained."""
    folder = tmp_path_factory.mktemp("loop")
    with running_loop(folder, loop_topology(folder)) as ground:
        yield ground


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopGround]:
    """The decision loop, each stage a process of its own, on a ladder that moves within seconds."""
    folder = tmp_path_factory.mktemp("apart")
    with running_loop(folder, apart_topology(folder), lambda made: wire_policy(made, folder)) as ground:
        yield ground


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """What a test started by itself ends with it."""
    yield
    StageProcess.kill_all()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the seed is printed, `SLUICE_FAULT_SEED` repeats a run."""
    seed = int(os.environ.get("SLUICE_FAULT_SEED") or random.SystemRandom().randrange(10**6))
    print(f"{request.node.name}: SLUICE_FAULT_SEED={seed}")  # noqa: T201 - shown when a test fails
    return random.Random(seed)
