"""What a payment costs each stage of the chain: real stages, one process, no broker.

CPU is that of the calling thread, which other work on the machine moves little. The gate's share holds what
it does for the decision and the intents of each payment as well; decoding ahead of the step is shown apart.
"""

import cProfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from services.decision_fabric.policy_files import binding_of, read_feature_set
from services.ingestion_gate.policy import GatePolicy
from sluice_bench.arithmetic import spread
from sluice_bench.decision_bench import activation, normal_posture, seal_drawn_bundle
from sluice_bench.loop_fleet import STAGES
from sluice_bench.loop_traffic import Slice, gate_policy, loop_values
from sluice_bench.payments import LANE
from sluice_contracts import TOPICS, derived_id, encode
from sluice_decisions import Bundle, load_bundle
from sluice_kit.artifacts import ArtifactStore, open_store
from sluice_kit.config import Wiring
from sluice_kit.kafka.partitioner import places_of
from sluice_kit.places import Place
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.stage import Batch, ChainSpec, Coordinate, Output, Record, StageSettings
from sluice_kit.stage.batching import with_prepared
from sluice_kit.stage.chain import MemberRun, ranges_of, run_chain
from sluice_kit.stage.environment import looked_up
from sluice_kit.stage.process import StageArguments, member_of
from sluice_kit.stage.service_signal import control_envelope
from sluice_kit.telemetry import Health

PAYMENTS: Final = "traffic.payment"
_OPERATOR: Final = "ingress.operator"
_LADDER: Final = "ingress.degrade_ladder"
_PARTITIONS: Final = 4
_COUNTS: Final = {name: topic.partitions for name, topic in TOPICS.items()}
_WARM_UP: Final = 0.2
"""Share of the batches that only fill caches."""


def chain_cost(payments: int, batch: int, *, profile: cProfile.Profile | None = None) -> dict[str, Any]:
    """Step `payments` payments (with their labels) in batches of `batch`; microseconds a payment."""
    with tempfile.TemporaryDirectory(prefix="sluice-chain-") as folder:
        chain = _Chain.open(Path(folder))
        chain.steer()
        values = [value for _, value in loop_values(Slice("chain-cost", payments, 0, payments))]
        batches = [values[at : at + batch] for at in range(0, len(values), batch)]
        warm_up = max(1, round(len(batches) * _WARM_UP))
        with quiet_collector() as tidy:
            for number, content in enumerate(batches):
                if number == warm_up:
                    chain.spent.clear()
                    if profile is not None:
                        profile.enable()
                chain.step([(LANE, value) for value in content])
                tidy(len(content))
            if profile is not None:
                profile.disable()
    counted = sum(map(len, batches[warm_up:]))
    return cost_table(chain.spent, counted) | {
        "batch": batch,
        "events": counted,
        "records_of_a_payment": records_of_a_payment(chain.written),
    }


def cost_table(spent: Mapping[str, Sequence[float]], events: int) -> dict[str, Any]:
    """From CPU seconds of each batch by part to microseconds an event, in all and by part."""
    sums = {name: sum(seconds) / events * 1e6 for name, seconds in spent.items()}
    return {
        "cpu_us_per_event": {name: round(sums[name], 1) for name in spent}
        | {"all": round(sum(sums.values()), 1)},
        "batch_ms": spread([sum(parts) * 1e3 for parts in zip(*spent.values(), strict=True)]),
    }


def records_of_a_payment(sizes: Mapping[str, Sequence[int]]) -> dict[str, dict[str, float]]:
    """How many records a payment each topic gets, and their average bytes; `sizes` are by topic."""
    payments = len(sizes[PAYMENTS])
    return {
        topic: {"records": round(len(found) / payments, 3), "bytes": round(sum(found) / len(found))}
        for topic, found in sorted(sizes.items())
    }


@dataclass(slots=True)
class _Chain:
    """A chain of real stages over a log that only counts."""

    spec: ChainSpec
    store: ArtifactStore
    now: int
    batch_no: int = 0
    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    written: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _ends: dict[Place, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def open(cls, folder: Path) -> "_Chain":
        """Fresh stages with the shipped policies, their state under `folder`."""
        wiring = Wiring(
            kafka={"bootstrap_servers": "nowhere:1"},  # type: ignore[arg-type]
            artifacts={"root": str(folder / "artifacts")},  # type: ignore[arg-type]
            oracle={"root": str(folder / "oracle")},  # type: ignore[arg-type]
            state_dir=folder / "state",
        )
        store = open_store(str(folder / "artifacts"))
        given = StageArguments(wiring, 0, 0, StageSettings(), serves=False)
        stages = [member_of(name)(given, store, Health(name)).stage for name in STAGES]
        return cls(ChainSpec(stages), store, time.time_ns() // 1_000)

    def steer(self) -> None:
        """Put policy and bundle in force and let the ladder say NORMAL, all through the gate."""
        self.step([(_OPERATOR, _policy_event(self.now))])
        binding = binding_of(read_feature_set())
        locator = seal_drawn_bundle(self.store, binding)
        bundle = load_bundle(self.store, locator, binding)
        if not isinstance(bundle, Bundle):
            raise TypeError(str(bundle))
        self.step([(_OPERATOR, activation(bundle, locator).value or b"")])
        self.step([(_LADDER, normal_posture().value or b"")])

    def step(self, values: Sequence[tuple[str, bytes]]) -> list[MemberRun]:
        """Step (lane, value) pairs as one batch and commit it; what it took goes to `spent`."""
        records = []
        for number, (topic, value) in enumerate(values):
            partition = number % min(_PARTITIONS, TOPICS[topic].partitions)
            records.append(Record(topic, partition, self._next(topic, partition), None, value))
        self.now += 50_000
        spent: dict[str, float] = defaultdict(float)
        begin = time.thread_time()
        if self.spec.prepare is not None:
            records = with_prepared(self.spec.prepare, records)
        spent["read ahead (decode, check, hash)"] = time.thread_time() - begin
        begin = time.thread_time()
        batch = Batch(self.now, self.spec.head.order(records), looked_up(lag_records=0))
        timed = [_Timed(stage, spent) for stage in self.spec.members]
        runs = run_chain(timed, batch, ranges_of(records), self._place)
        self.batch_no += 1
        for run in runs:
            for out in run.resolved():
                self.written[out.topic].append(len(out.value))
            run.digest()
            run.stage.state.apply(run.overlay, run.coordinates, self.batch_no)
        spent["between them (feed, resolve, digest, apply)"] = (
            time.thread_time() - begin - sum(spent.get(name, 0.0) for name in STAGES)
        )
        for name, seconds in spent.items():
            self.spent[name].append(seconds)
        return runs

    def _place(self, _index: int, facts: Sequence[Output]) -> list[Coordinate]:
        for topic, _, value in facts:
            self.written[topic].append(len(value))
        places = places_of([fact.topic for fact in facts], [fact.key for fact in facts], _COUNTS)
        return [Coordinate(*place, self._next(*place)) for place in places]

    def _next(self, topic: str, partition: int) -> int:
        self._ends[topic, partition] += 1
        return self._ends[topic, partition] - 1


def _policy_event(now: int) -> bytes:
    """What puts the policy of the bench's traffic in force."""
    policy = GatePolicy.parse(orjson.dumps(gate_policy()))
    if not isinstance(policy, GatePolicy):
        raise TypeError(str(policy))
    payload = {
        "revision": policy.revision,
        "policy": policy.canonical().decode(),
        "fingerprint": {"algo": "sha256", "hash": policy.fingerprint(), "created_at": None, "inputs": {}},
    }
    envelope = control_envelope("gate_policy", derived_id("sluice.bench.v1", "policy"), "operator", now)
    return encode("gate_policy", 1, envelope | {"payload": payload})


class _Timed:
    """A stage whose step, and what the head prepares of what is handed back, is timed."""

    def __init__(self, stage: Any, spent: dict[str, float]) -> None:
        self._stage = stage
        self._spent = spent
        spent.setdefault(stage.name, 0.0)
        if hasattr(stage, "prepare"):
            self.prepare = self._prepare

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def step(self, overlay: Any, batch: Batch) -> Any:
        """The stage's own."""
        begin = time.thread_time()
        result = self._stage.step(overlay, batch)
        self._spent[self._stage.name] += time.thread_time() - begin
        return result

    def _prepare(self, records: Sequence[Record]) -> Any:
        begin = time.thread_time()
        made = self._stage.prepare(records)
        self._spent[self._stage.name] += time.thread_time() - begin
        return made
