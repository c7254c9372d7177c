"""The gate's own evidence: reads what a held READY names, and puts what it found on the gate's lane.

Reading artifacts is I/O, which a step must not do; so it happens here, and the verdict comes back to the step
as a record. A repeat of a verdict is a duplicate of it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from services.ingestion_gate.evidence_checks import receipt_problem, required_receipts, view_problems
from services.ingestion_gate.model import HeldReady, RunKey
from services.ingestion_gate.overlay import GateView
from services.ingestion_gate.policy import MICROSECONDS
from sluice_contracts import Decoded, decode, derived_id, encode
from sluice_kit.artifacts import (
    ArtifactError,
    ArtifactMissing,
    ArtifactStore,
    Locator,
    StoreUnavailable,
)
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config
from sluice_kit.telemetry import Health, get_logger

_log = get_logger("evidence_verifier")
PRINCIPAL: Final = "ingestion_gate"
LANE: Final = "ingress.ingestion_gate"
CHECK: Final = "evidence"
PASS, FAIL = "PASS", "FAIL"
FACTS_VIEWS: Final = "artifact://sr/run_facts_view/"
_LOOK_SECONDS: Final = 0.2
_FIRST_BACKOFF_SECONDS: Final = 0.25
_MAX_BACKOFF_SECONDS: Final = 5.0
_REPEAT_SECONDS: Final = 10.0
_MARGIN: Final = 0.8
"""Share of the policy's waiting time after which what cannot be read is a FAIL."""
_DELIVERY_SECONDS: Final = 5.0
_MAX_REASONS: Final = 20
_REASON_CHARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one READY."""

    verdict: str
    reasons: tuple[str, ...]
    checked_gates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotYet:
    """It cannot be told now: an artifact or a store is away."""

    reason: str


class EvidenceReader:
    """Judges a READY from the bytes that it names."""

    def __init__(self, artifacts: ArtifactStore, oracle: ArtifactStore) -> None:
        self._artifacts, self._oracle = artifacts, oracle

    def judge(self, ready: Mapping[str, Any]) -> Verdict | NotYet:
        """PASS when facts view and gate receipts bear the READY out."""
        try:
            locator = ready["payload"]["facts_view"]
            if not locator["uri"].startswith(FACTS_VIEWS):
                return Verdict(FAIL, (f"{locator['uri']} is no facts view of the scenario runner",))
            view = self._document(self._artifacts, locator)
            if not isinstance(view, dict):
                return Verdict(FAIL, ("the facts view is not an object",))
            problems = view_problems(ready, view)
            if problems:
                return Verdict(FAIL, tuple(problems))
            receipts = required_receipts(ready, view)
            for gate_id, proof in receipts.items():
                problem = receipt_problem(gate_id, self._document(self._oracle, proof), view)
                if problem is not None:
                    problems.append(problem)
        except (ArtifactMissing, StoreUnavailable) as error:
            return NotYet(str(error))
        except (ArtifactError, ValueError, KeyError, TypeError) as error:
            return Verdict(FAIL, (f"{type(error).__name__}: {error}",))
        checked = tuple(sorted(receipts))
        return Verdict(FAIL, tuple(problems), checked) if problems else Verdict(PASS, (), checked)

    def _document(self, store: ArtifactStore, locator: Mapping[str, Any]) -> Any:
        return orjson.loads(store.read(Locator.load(locator)))


@dataclass(slots=True)
class _Task:
    """What is known of one held READY; times are of the monotonic clock."""

    due: float = 0.0
    backoff: float = _FIRST_BACKOFF_SECONDS
    value: bytes | None = None


class EvidenceVerifier:
    """Runs beside the gate until ``stop``; `nudge` after a commit spares a wait."""

    def __init__(
        self,
        wiring: Wiring,
        view: Callable[[], GateView],
        reader: EvidenceReader,
        health: Health,
        *,
        wall_clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._wiring, self._view, self._reader, self._health = wiring, view, reader, health
        self._wall_clock = wall_clock
        self._nudged = threading.Event()
        self._tasks: dict[tuple[RunKey, str, str], _Task] = {}
        self._producer: Producer | None = None

    def nudge(self, _committed: object = None) -> None:
        """A batch was committed; look if it holds a READY."""
        if self._view().held:
            self._nudged.set()

    def run(self, stop: threading.Event) -> None:
        """Look, judge, say."""
        while not stop.is_set():
            self._nudged.wait(_LOOK_SECONDS)
            self._nudged.clear()
            held = self._view().held
            if held or self._tasks:
                self._look(held)

    def _look(self, held: Mapping[RunKey, tuple[HeldReady, ...]]) -> None:
        present = set()
        now = time.monotonic()
        for key, waiting in held.items():
            for item in waiting:
                decoded = decode(item.record.value)
                if not isinstance(decoded, Decoded):
                    continue
                digest = decoded.fields["payload"]["facts_view"]["digest"]["hash"]
                name = (key, item.event_id, digest)
                present.add(name)
                task = self._tasks.setdefault(name, _Task())
                if task.due <= now:
                    self._work(task, item, decoded.fields)
        for gone in self._tasks.keys() - present:
            del self._tasks[gone]
        if not self._tasks:
            self._health.ok(CHECK)

    def _work(self, task: _Task, held: HeldReady, ready: Mapping[str, Any]) -> None:
        if task.value is None:
            found = self._reader.judge(ready)
            if isinstance(found, NotYet):
                found = self._out_of_time(held, found)
            if isinstance(found, NotYet):
                self._health.degraded(CHECK, f"run {ready['run_id']} waits for its evidence: {found.reason}")
                self._later(task)
                return
            _log.info("evidence", run_id=ready["run_id"], verdict=found.verdict, reasons=list(found.reasons))
            task.value = evidence_bytes(ready, found, self._wall_clock())
        problem = self._say(ready["run_id"], task.value)
        if problem is None:
            task.due = time.monotonic() + _REPEAT_SECONDS
        else:
            self._health.degraded(CHECK, f"{LANE} cannot be written: {problem}")
            self._later(task)

    def _out_of_time(self, held: HeldReady, found: NotYet) -> Verdict | NotYet:
        wait = self._view().policy.limits.evidence_wait_seconds * MICROSECONDS * _MARGIN
        if self._wall_clock() - held.since < wait:
            return found
        return Verdict(FAIL, (f"could not be read in time: {found.reason}",))

    def _later(self, task: _Task) -> None:
        task.due = time.monotonic() + task.backoff
        task.backoff = min(_MAX_BACKOFF_SECONDS, task.backoff * 2)

    def _say(self, run_id: str, value: bytes) -> str | None:
        outcome: list[KafkaError | None] = []
        try:
            if self._producer is None:
                config = idempotent_producer_config(self._wiring, PRINCIPAL)
                self._producer = Producer(config | {"message.timeout.ms": int(_DELIVERY_SECONDS * 1000)})
            self._producer.produce(
                LANE, value, run_id.encode(), on_delivery=lambda error, _: outcome.append(error)
            )
            self._producer.flush(_DELIVERY_SECONDS)
        except (BufferError, KafkaException) as error:
            return str(error)
        if not outcome:
            return "no acknowledgement in time"
        return None if outcome[0] is None else outcome[0].str()


def evidence_bytes(ready: Mapping[str, Any], found: Verdict, now: int) -> bytes:
    """The ``run_evidence`` event, at the READY's domain time: a repeat has the same payload hash."""
    digest = ready["payload"]["facts_view"]["digest"]["hash"]
    reasons = [reason[:_REASON_CHARS] for reason in found.reasons[:_MAX_REASONS]]
    fields = {name: ready[name] for name in _TAKEN_OVER} | {
        "event_id": derived_id("sluice.run_evidence.v1", ready["event_id"], digest, found.verdict),
        "event_type": "run_evidence",
        "schema_version": 1,
        "emitted_at_utc": now,
        "producer": PRINCIPAL,
        "parent_event_id": ready["event_id"],
        "payload": {
            "ready_event_id": ready["event_id"],
            "facts_view_digest": digest,
            "verdict": found.verdict,
            "reasons": reasons,
            "checked_gates": list(found.checked_gates),
        },
    }
    return encode("run_evidence", 1, fields)


_TAKEN_OVER: Final = (
    "ts_utc",
    "manifest_fingerprint",
    "tenant",
    "parameter_hash",
    "scenario_id",
    "run_id",
    "seed",
    "traceparent",
)
