"""The decision fabric's step by itself: CPU a payment and a rule, and scoring against LightGBM's own rate.

Real parts in one process and no broker: the shipped policy and thresholds, a model trained on drawn features,
framed payments and snapshots in batches. CPU is that of the calling thread, which other work on the machine
hardly moves.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.core import step
from services.decision_fabric.model import BUNDLES, PAYMENTS, POSTURES, SNAPSHOTS
from services.decision_fabric.policy_files import binding_of, read_feature_set, read_policy
from services.decision_fabric.state import DecisionState
from sluice_bench.arithmetic import compared, spread
from sluice_bench.rule_cost import rule_cost
from sluice_contracts import NO_PINS, Decoded, decode, derived_id, encode
from sluice_decisions import (
    Bundle,
    BundleParts,
    Case,
    DecisionPolicy,
    DocumentProblem,
    FeatureBinding,
    SnapshotView,
    ThresholdTable,
    load_bundle,
    seal_bundle,
)
from sluice_decisions.model import Matrix, lightgbm_library
from sluice_decisions.training import LabelledTable, TrainingParameters, fit
from sluice_kit.artifacts import ArtifactStore, Locator, open_store
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.stage import Batch, Record, StepResult

NOW: Final = 1_700_000_000_000_000
_FAR_OFF: Final = 4_102_444_800_000_000
"""The year 2100, in microseconds."""
BATCH: Final = 200
TARGET_US: Final = 60.0
SCORING_TARGET: Final = 0.5
_ZERO: Final = "0" * 64
_LIGHTGBM_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Drawn:
    """Payments with features that follow nothing real: integer rows, a label that a model can learn."""

    rows: Matrix
    frauds: Any
    amounts: list[int]


def decision_bench(batches: int = 100, batch: int = BATCH, *, fraud_share: float = 0.0) -> dict[str, Any]:
    """Step `batches` batches of `batch` payments, each with its snapshot.

    `fraud_share`: how many payments look like fraud and so get another outcome than ALLOW, and attributions.
    """
    binding = binding_of(read_feature_set())
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        locator = seal_drawn_bundle(store, binding)
        bundle = load_bundle(store, locator, binding)
        if not isinstance(bundle, Bundle):
            raise TypeError(str(bundle))
        policy, source = read_policy(), BundleSource(store, binding)
        state = DecisionState()

        def run(records: Sequence[Record], batch_no: int) -> StepResult:
            overlay = state.overlay()
            result = step(overlay, Batch(NOW + batch_no * 50_000, records), policy, source.resolve)
            state.apply(overlay, [], batch_no)
            return result

        run([activation(bundle, locator), normal_posture()], 0)
        drawn = draw(binding, (batches + 2) * batch, fraud_share)
        fed = [records_of(binding, drawn, number * batch, batch) for number in range(batches + 2)]
        outcomes: Counter[str] = Counter()
        for number, records in enumerate(fed[:2], start=1):
            run(records, number)
        cpu = []
        with quiet_collector() as tidy:  # as the runner steps
            for number, records in enumerate(fed[2:], start=3):
                started = time.thread_time()
                result = run(records, number)
                tidy(len(records))
                cpu.append((time.thread_time() - started) / batch * 1e6)
                outcomes.update(_outcomes(result))
        scoring = scoring_rates(bundle, drawn.rows)
        cases = cases_of(binding, drawn)
        rules = rule_cost(
            bundle,
            [cases[at : at + batch] for at in range(0, len(cases), batch)],
            bundle.model.scores(drawn.rows).tolist(),
        )
    median = float(np.median(cpu))
    return {
        "batch": batch,
        "payments": batches * batch,
        "by_outcome": dict(sorted(outcomes.items())),
        "cpu_us_a_payment": {"median": round(median, 1), "p90": round(float(np.quantile(cpu, 0.9)), 1)},
        "target_us": TARGET_US,
        "met": median <= TARGET_US,
        "rules": rules,
        "scoring": scoring,
    }


def scoring_bench(repetitions: int) -> dict[str, Any]:
    """The fabric's scoring against LightGBM's own rate, both at batches of 32, in rows a second of CPU."""
    binding = binding_of(read_feature_set())
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        bundle = load_bundle(store, seal_drawn_bundle(store, binding), binding)
    if not isinstance(bundle, Bundle):
        raise TypeError(str(bundle))
    rows = draw(binding, 6_400, 0.0).rows
    rates = [scoring_rates(bundle, rows) for _ in range(max(3, repetitions))]
    floors, owns = ([one[f"{side}_batch_32_rows_s"] for one in rates] for side in ("lightgbm", "ours"))
    return compared(floors, owns, SCORING_TARGET, "rows_per_second") | {
        "batch": _LIGHTGBM_BATCH,
        f"ours_at_{BATCH}": spread([one["ours_batch_200_rows_s"] for one in rates]),
    }


def scoring_rates(bundle: Bundle, rows: Matrix) -> dict[str, Any]:
    """Rows a second: LightGBM's own `predict` at batches of 32 (the floor), and ours at 32 and at 200."""
    lightgbm = lightgbm_library()
    booster = lightgbm.Booster(model_str=bundle.model._booster.model_to_string())  # noqa: SLF001 - the floor

    def own(part: Matrix) -> Any:
        return booster.predict(part, num_threads=1)

    floor = _rate(own, rows, _LIGHTGBM_BATCH)
    ours = {size: _rate(bundle.model.scores, rows, size) for size in (_LIGHTGBM_BATCH, BATCH)}
    return {
        "lightgbm_batch_32_rows_s": round(floor),
        "ours_batch_32_rows_s": round(ours[_LIGHTGBM_BATCH]),
        "ours_batch_200_rows_s": round(ours[BATCH]),
        "ratio_at_32": round(ours[_LIGHTGBM_BATCH] / floor, 2),
    }


def seal_drawn_bundle(store: ArtifactStore, binding: FeatureBinding, trees: int = 100) -> Locator:
    """A bundle of the shipped policy and thresholds and a model that learnt from drawn features."""
    drawn = draw(binding, 6_000, 0.2, seed=1)
    count = len(drawn.rows)
    table = LabelledTable.of(
        binding.features,
        drawn.rows.astype(np.int64),
        np.zeros(drawn.rows.shape, np.bool_),
        frauds=drawn.frauds,
        times=np.arange(count, dtype=np.int64),
        customers=np.arange(count, dtype=np.int64),
    )
    parts = BundleParts(
        bundle_id="payments",
        revision="drawn-1",
        feature_set=binding,
        model_text=fit(table, TrainingParameters(trees=trees)),
        policy=_document(DecisionPolicy, POLICY_DIR / "decision_rules.yaml"),
        thresholds=_document(ThresholdTable, POLICY_DIR / "decision_rules.thresholds.yaml"),
        probe_rows=drawn.rows[:16],
    )
    return seal_bundle(store, parts, datetime(2026, 1, 1, tzinfo=UTC))


def draw(binding: FeatureBinding, count: int, fraud_share: float, seed: int = 0) -> Drawn:
    """Features in their usual ranges; a fraud has a large amount and a risky terminal."""
    chance = np.random.default_rng(seed)
    frauds = chance.random(count) < fraud_share
    rows = np.zeros((count, len(binding.features)), np.float64)
    for place, name in enumerate(binding.features):
        rows[:, place] = chance.integers(0, _highest(name), count)
    amount, risk = binding.features.index("amount"), binding.features.index("terminal_risk_7d")
    rows[:, amount] = np.where(frauds, chance.integers(100_000, 400_000, count), rows[:, amount])
    rows[:, risk] = np.where(frauds, chance.integers(500_000, 1_000_000, count), rows[:, risk])
    rows[:, binding.features.index("graph_fraud_distance")] = -1
    return Drawn(rows, frauds, rows[:, amount].astype(np.int64).tolist())


def records_of(binding: FeatureBinding, drawn: Drawn, first: int, count: int) -> list[Record]:
    """Framed payments and behind them their snapshots, as the step is given them."""
    payments, snapshots = [], []
    for row in range(first, first + count):
        event_id = derived_id("sluice.bench.v1", row)
        payments.append(
            Record(PAYMENTS, row % 4, row // 4, b"C", encode("payment", 1, _payment(event_id, drawn, row)))
        )
        value = encode("feature_snapshot", 1, _snapshot(binding, event_id, drawn, row))
        snapshots.append(Record(SNAPSHOTS, row % 4, row // 4, event_id.encode(), value))
    return payments + snapshots


def cases_of(binding: FeatureBinding, drawn: Drawn) -> list[Case]:
    """The drawn payments as `decide` is given them."""
    return [
        Case(
            str(row),
            amount,
            {"currency": "EUR", "customer_id": f"C-{row % 5_000}", "terminal_id": f"T-{row % 1_000}"},
            SnapshotView(values, (), binding.hash, ""),
        )
        for row, (amount, values) in enumerate(
            zip(drawn.amounts, drawn.rows.astype(np.int64).tolist(), strict=True)
        )
    ]


def activation(bundle: Bundle, locator: Locator) -> Record:
    """The `bundle_activated` for everybody."""
    payload = {
        "scope": "all",
        "bundle_id": bundle.bundle_id,
        "bundle_revision": bundle.revision,
        "fingerprint": {"algo": "sha256", "hash": bundle.fingerprint, "created_at": None, "inputs": {}},
        "manifest": locator.to_fields(),
        "actor": {"type": "human", "id": "bench", "roles": [], "on_behalf_of": None},
        "reason": "bench",
    }
    return Record(BUNDLES, 0, 0, b"all", encode("bundle_activated", 1, _event("bundle_activated", payload)))


def normal_posture() -> Record:
    """NORMAL for everybody, whatever the time of the bench that asks."""
    payload = {
        "scope": "all",
        "posture": "NORMAL",
        "capabilities": ["attributions", "graph_features", "model", "rules"],
        "sequence": 0,
        "since": NOW,
        "valid_until": _FAR_OFF,
        "previous": None,
        "causes": [],
        "forced_by": None,
        "signals": [],
        "policy_revision": "bench",
    }
    return Record(POSTURES, 0, 0, b"all", encode("posture", 1, _event("posture", payload)))


def _highest(name: str) -> int:
    if "risk" in name:
        return 200_000
    if "amount" in name or "velocity" in name:
        return 90_000
    return {"hour_of_day": 24, "is_weekend": 2, "is_night": 2}.get(name, 9)


def _event(event_type: str, payload: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "event_id": derived_id("sluice.bench.v1", event_type),
        "event_type": event_type,
        "ts_utc": NOW,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": "bench",
        "run_id": "bench",
        "seed": 7,
        "producer": "bench",
        "payload": payload,
    } | changes


def _payment(event_id: str, drawn: Drawn, row: int) -> dict[str, Any]:
    payload = {
        "payment_id": f"P-{row}",
        "customer_id": f"C-{row % 5_000}",
        "terminal_id": f"T-{row % 1_000}",
        "amount_minor": drawn.amounts[row],
        "currency": "EUR",
        "card_id": f"K-{row % 6_000}",
        "channel": "pos",
        "country": "DE",
    }
    return _event("payment", payload, event_id=event_id, ts_utc=NOW + row)


def _snapshot(binding: FeatureBinding, event_id: str, drawn: Drawn, row: int) -> dict[str, Any]:
    return {
        "tenant": "default",
        "run_id": "bench",
        "event_id": event_id,
        "as_of": NOW + row,
        "feature_set": {"name": binding.name, "revision": binding.revision, "hash": binding.hash},
        "values": drawn.rows[row].astype(np.int64).tolist(),
        "missing": [],
        "freshness": [0, 0, 0, 0, 0],
        "graph_version": 1,
        "graph_basis": _ZERO,
        "input_basis": _ZERO,
        "degraded": [],
        "payment": {"topic": PAYMENTS, "partition": row % 4, "offset": row // 4},
        "snapshot_hash": event_id,
    }


def _outcomes(result: StepResult) -> list[str]:
    found = [decode(out.value) for out in result.trailing]
    events = [one.fields for one in found if isinstance(one, Decoded)]
    return [event["payload"]["outcome"] for event in events if event["event_type"] == "decision"]


def _rate(predict: Callable[[Matrix], Any], rows: Matrix, size: int, rounds: int = 5) -> float:
    """The best of some rounds, rows a second of CPU."""
    parts = [np.ascontiguousarray(rows[at : at + size]) for at in range(0, min(len(rows), 6_400), size)]
    best = 0.0
    for _ in range(rounds):
        started = time.thread_time()
        for part in parts:
            predict(part)
        best = max(best, sum(map(len, parts)) / (time.thread_time() - started))
    return best


def _document(kind: Any, path: Path) -> Any:
    found = kind.parse(path.read_bytes(), str(path))
    if isinstance(found, DocumentProblem):
        raise TypeError(str(found))
    return found
