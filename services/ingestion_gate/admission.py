"""The second half of admission, in batch order: run, pins, time, dedupe; then the receipt."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from services.ingestion_gate.evidence import bundle_evidence
from services.ingestion_gate.model import (
    CONTROL_RUN_NO,
    TRAFFIC,
    Admission,
    Candidate,
    Known,
    Refusal,
    Run,
    RunStatus,
)
from services.ingestion_gate.overlay import GateOverlay
from services.ingestion_gate.policy import MICROSECONDS, GatePolicy, PartitionProfile, contract_profile
from services.ingestion_gate.reasons import Reason
from services.ingestion_gate.receipts import ReceiptWriter, fact_output
from sluice_contracts import TOPICS
from sluice_contracts.wire import MAX_LONG, MIN_LONG
from sluice_kit.stage import Record, StepResult, TrailingOutput

BACKFILL_LANE = "ingress.backfill"
WORLD_STREAM_LANE = "ingress.world_stream_producer"

KeyOf = Callable[[Mapping[str, Any]], str]


class Desk:
    """Admits, refuses and receipts the records of one step, in order."""

    def __init__(self, overlay: GateOverlay, now: int, environment: Mapping[str, str]) -> None:
        self.overlay = overlay
        self.now = now
        overlay.now = now
        self.result = StepResult()
        self._inline = environment.get("evidence") == "inline"
        self.known: dict[bytes, Known | None] = {}
        self.receipts: list[TrailingOutput] = []
        self._refused: list[tuple[Refusal, str]] = []
        self.use_policy(overlay.active_policy)

    def use_policy(self, policy: GatePolicy) -> None:
        """Everything from here on is decided and stamped under this policy."""
        self._policy = policy
        self.writer = ReceiptWriter(self.now, policy.revision)
        self._keys: dict[str, tuple[str, KeyOf]] = {}
        self._latest = self.now + policy.limits.max_future_seconds * MICROSECONDS
        self._oldest = self.now - policy.limits.standing_horizon_seconds * MICROSECONDS

    def know(self, keys: Sequence[bytes]) -> None:
        """Look the keys of a batch up at once."""
        self.known.update(zip(keys, self.overlay.view.keys.lookup(keys), strict=True))

    def ordinary(self, candidate: Candidate) -> None:
        """Admit what steers nothing here: traffic within its run, control and audit events by themselves.

        What such events say of a run may come after its end. Those of the standing run are held near the
        gate's time, as its traffic is, so that the keys of what comes every second do not pile up.
        """
        fields = candidate.fields
        run = self.overlay.run((fields["tenant"], fields["run_id"]))
        if TOPICS[candidate.contract.topic or ""].cls == TRAFFIC or (run is not None and run.standing):
            self.traffic(candidate)
        else:
            self.admit(candidate, CONTROL_RUN_NO)

    def traffic(self, candidate: Candidate) -> None:
        """Admit one event of a run, or say why not."""
        fields = candidate.fields
        run = self.overlay.run((fields["tenant"], fields["run_id"]))
        problem = self.run_problem(fields, run, candidate.record.topic)
        if problem is None and run is not None and run.standing:
            problem = self._time_problem(fields["ts_utc"])
        if problem is not None:
            self.refuse(candidate, *problem)
            return
        assert run is not None
        self.admit(candidate, run.run_no, horizon=self._oldest if run.standing else None)

    def times_of(self, run: Run) -> tuple[int, int]:
        """Oldest and latest `ts_utc` (microseconds) of a run's events, ends included."""
        return (self._oldest, self._latest) if run.standing else (MIN_LONG, MAX_LONG)

    def admit(self, candidate: Candidate, run_no: int, *, horizon: int | None = None) -> bool:
        """Dedupe and admit. True for a first admission.

        A key older than `horizon` (microseconds UTC) counts as unknown: when the index drops it depends on
        background merges, which must never decide an answer.
        """
        fields = candidate.fields
        digest = candidate.payload_hash
        pending = self.overlay.admitted.get(candidate.key)
        known = None if pending is not None else self._lookup(candidate.key)
        if known is not None and horizon is not None and known.ts_utc < horizon:
            known = None
        profile, key_of = self._key_of(candidate.contract.event_type)
        partition_key = key_of(fields)
        admitted = known if pending is None else pending
        first = None if admitted is None else admitted.payload_hash
        if first is not None and first != digest:
            self.refuse(
                candidate,
                Reason.PAYLOAD_HASH_MISMATCH,
                f"{fields['event_id']} was admitted with hash {first.hex()}, this one has {digest.hex()}",
            )
            return False
        fresh = first is None
        fact = pending.fact if pending is not None else None
        if fresh:
            fact = self.overlay.facts
            self.overlay.facts += 1
            self.overlay.admitted[candidate.key] = Admission(fact, digest, fields["ts_utc"], run_no)
            topic = candidate.contract.topic
            assert topic is not None
            self.result.facts.append(fact_output(topic, partition_key, candidate.record))
        self.receipts.append(
            self.writer.settled(
                candidate.record,
                fields,
                decision="ADMIT" if fresh else "DUPLICATE",
                principal=candidate.principal,
                origin=candidate.origin,
                payload_hash=digest,
                partition_key=partition_key,
                partition_profile=profile,
                fact=fact,
                known=None if known is None else known.coordinate,
            )
        )
        return fresh

    def refuse(self, candidate: Candidate, reason: str, detail: str) -> None:
        """Quarantine a candidate."""
        self.quarantine(
            Refusal(candidate.record, candidate.principal, candidate.origin, reason, detail, candidate.fields)
        )

    def quarantine(self, refusal: Refusal, cause: str | None = None) -> None:
        """Keep the original and say why; the receipt follows at the end of the step."""
        if cause is None:
            cause = str((refusal.fields or {}).get("event_id") or len(self._refused))
        self._refused.append((refusal, cause))

    def close(self) -> StepResult:
        """Write what was refused and hand the step's result over."""
        result = self.result
        result.trailing.extend(self.receipts)
        if self._refused:
            if self._inline:
                refs: list[Any] = [None] * len(self._refused)
            else:
                result.artifacts, refs = bundle_evidence([refusal for refusal, _ in self._refused])
            for (refusal, cause), ref in zip(self._refused, refs, strict=True):
                result.trailing.extend(self.writer.refused(refusal, ref, cause))
        result.quarantined.update(str(refusal.reason) for refusal, _ in self._refused)
        return result

    def _lookup(self, key: bytes) -> Known | None:
        if key not in self.known:
            self.know([key])
        return self.known[key]

    def profile_of(self, event_type: str) -> PartitionProfile:
        """How the record key of an event type is made: as the policy says, else as its topic's contract."""
        return self._policy.partition_profiles.get(event_type) or contract_profile(event_type)

    def _key_of(self, event_type: str) -> tuple[str, KeyOf]:
        made = self._keys.get(event_type)
        if made is None:
            profile = self.profile_of(event_type)
            made = self._keys[event_type] = (profile.profile, key_function(profile.path))
        return made

    def run_problem(self, fields: Mapping[str, Any], run: Run | None, lane: str) -> tuple[Reason, str] | None:
        """Why an event with these pins may not come through this lane into its run, its time apart."""
        if run is None:
            if self.overlay.held_for((fields["tenant"], fields["run_id"])):
                return Reason.RUN_NOT_READY, f"run {fields['run_id']} waits for the evidence of its READY"
            return Reason.RUN_UNKNOWN, f"no READY was seen for run {fields['run_id']}"
        if run.status is RunStatus.CLOSED:
            return Reason.RUN_CLOSED, f"run {run.run_id} is closed"
        if run.standing:
            return None
        if (
            fields["manifest_fingerprint"] != run.manifest_fingerprint
            or fields["parameter_hash"] != run.parameter_hash
            or fields["scenario_id"] != run.scenario_id
            or fields["seed"] != run.seed
        ):
            return Reason.PINS_MISMATCH, pins_detail(fields, run)
        if run.delivery_mode == "pull" and lane == WORLD_STREAM_LANE:
            return Reason.DELIVERY_MODE, f"run {run.run_id} is delivered by {BACKFILL_LANE} (pull)"
        return None

    def _time_problem(self, ts_utc: int) -> tuple[Reason, str] | None:
        """A standing run never closes: its keys are kept for a horizon, and time is held near the gate's."""
        if ts_utc > self._latest:
            return Reason.FUTURE_TIMESTAMP, f"ts_utc {ts_utc} is ahead of the gate's {self.now} by too much"
        if ts_utc < self._oldest:
            return Reason.BEYOND_DEDUPE_HORIZON, f"ts_utc {ts_utc} is older than the dedupe horizon"
        return None


def pins_detail(fields: Mapping[str, Any], run: Run) -> str:
    """Which pins differ, both sides named."""
    wanted = {
        "manifest_fingerprint": run.manifest_fingerprint,
        "parameter_hash": run.parameter_hash,
        "scenario_id": run.scenario_id,
        "seed": run.seed,
    }
    return "; ".join(
        f"{name} is {fields[name]}, the run has {value}"
        for name, value in wanted.items()
        if fields[name] != value
    )


def key_function(path: str) -> KeyOf:
    """Reads a dotted path out of an event's fields."""
    parts = path.split(".")
    if len(parts) == 2:
        outer, inner = itemgetter(parts[0]), itemgetter(parts[1])
        return lambda fields: str(inner(outer(fields)))
    if len(parts) == 1:
        return lambda fields: str(fields[path])

    def deep(fields: Mapping[str, Any]) -> str:
        value: Any = fields
        for part in parts:
            value = value[part]
        return str(value)

    return deep


def original_record(fields: Mapping[str, Any]) -> Record | None:
    """The quarantined original that a release carries, as a record of its lane."""
    payload = fields["payload"]
    if payload["original"] is None or payload["original_lane"] is None:
        return None
    return Record(payload["original_lane"], -1, -1, None, payload["original"])
