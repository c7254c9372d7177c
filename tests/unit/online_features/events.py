"""Events as the stage reads them, and a driver over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.online_features.policy import OnlineFeaturesPolicy
from services.online_features.reading import CONTEXTS, LABELS, PAYMENTS
from services.online_features.stage import OnlineFeaturesStage
from sluice_contracts import encode
from sluice_features import FeatureSet
from sluice_kit.stage import ChainSpec, Record
from sluice_kit.stage.closed_runs import RUNS
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import envelope
from tests.unit.ingestion_gate.events import payment as payment_fields

SECOND = 1_000_000
DAY = 86_400 * SECOND
NOW = 1_700_000_000 * SECOND
MORNING = 1_522_569_600 * SECOND
"""2018-04-01, 08:00 UTC, a Sunday."""
SNAPSHOTS = "state.online_features.snapshot"
LANE = "ingress.online_features"
BASIS = "b" * 64
POLICY_DIR = Path(__file__).parents[3] / "deploy" / "policy"

Fields = dict[str, Any]


def shipped() -> FeatureSet:
    found = FeatureSet.parse((POLICY_DIR / "feature_sets" / "payments.json").read_bytes())
    assert isinstance(found, FeatureSet)
    return found


def policy(**changes: Any) -> OnlineFeaturesPolicy:
    return OnlineFeaturesPolicy(revision="tests", **changes)


def stage(feature_set: FeatureSet | None = None, **changes: Any) -> OnlineFeaturesStage:
    return OnlineFeaturesStage(policy(**changes), feature_set or shipped())


def driver(of: OnlineFeaturesStage | None = None, **changes: Any) -> TopologyDriver:
    return TopologyDriver(ChainSpec([of or stage(**changes)]), now=NOW)


def payment(event_id: str, ts_utc: int, **changes: Any) -> bytes:
    return encode("payment", 1, payment_fields(event_id, ts_utc=ts_utc, **changes))


def label(payment_id: str, effective: int, observed: int, *, fraud: bool = True, **changes: Any) -> bytes:
    payload = {
        "label_id": f"L-{payment_id}-{observed}",
        "payment_id": payment_id,
        "subject_event_id": None,
        "customer_id": changes.pop("customer", "C1"),
        "terminal_id": changes.pop("terminal", "T1"),
        "account_id": None,
        "card_id": None,
        "merchant_id": None,
        "device_id": None,
        "label": "FRAUD" if fraud else "LEGIT",
        "effective_time": effective,
        "observed_time": observed,
        "source": "world_truth",
    }
    return encode(
        "label", 1, envelope("label", f"l-{payment_id}-{observed}", payload, ts_utc=observed) | changes
    )


def context(event_id: str, ts_utc: int, *, version: int = 0, run_id: str = "run-1", **changes: Any) -> bytes:
    fields = {
        "tenant": "default",
        "run_id": run_id,
        "event_id": event_id,
        "ts_utc": ts_utc,
        "component_size": 3,
        "shared_device_degree": 1,
        "fraud_distance": None,
        "graph_version": version or ts_utc - SECOND,
        "graph_basis": BASIS,
        "integrity": "CLEAN",
        "conflicts": 0,
    }
    return encode("graph_context", 1, fields | changes)


def pay(to: TopologyDriver, event_id: str, ts_utc: int, *, partition: int = 0, **changes: Any) -> Record:
    return to.pipe(PAYMENTS, payment(event_id, ts_utc, **changes), b"C1", partition=partition)


def know(to: TopologyDriver, event_id: str, ts_utc: int, **changes: Any) -> None:
    to.pipe(CONTEXTS, context(event_id, ts_utc, **changes), event_id.encode())


def close(to: TopologyDriver, run_id: str) -> None:
    closing = {"reason": "done", "events_expected": None}
    fields = envelope("run_closed", f"close-{run_id}", closing, run_id=run_id)
    to.pipe(RUNS, encode("run_closed", 1, fields), partition=0)


def tell(to: TopologyDriver, payment_id: str, effective: int, observed: int, **changes: Any) -> None:
    to.pipe(LABELS, label(payment_id, effective, observed, **changes), b"C1")


def snapshots(of: TopologyDriver) -> list[Fields]:
    """In the order in which they were written to each partition."""
    return [dict(event) for event in of.events(SNAPSHOTS)]


def snapshot(of: TopologyDriver, event_id: str, run_id: str = "run-1") -> Fields:
    found = [one for one in snapshots(of) if (one["event_id"], one["run_id"]) == (event_id, run_id)]
    assert len(found) == 1, found
    return found[0]


def values(of: TopologyDriver, event_id: str) -> dict[str, int | None]:
    """Values by name, None where missing."""
    found, names = snapshot(of, event_id), [feature.name for feature in shipped().features]
    return {
        name: None if at in found["missing"] else value
        for at, (name, value) in enumerate(zip(names, found["values"], strict=True))
    }


def signals(of: TopologyDriver) -> list[Fields]:
    payloads: list[Any] = [event["payload"] for event in of.events(LANE)]
    return payloads


def written(runs: Sequence[Any]) -> list[bytes]:
    """Event ids of the snapshots of a step, in the order in which they were put out."""
    return [fact.key for run in runs for fact in run.facts]
