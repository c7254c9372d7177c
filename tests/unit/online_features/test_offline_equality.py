"""What the stage answered over a generated world is what the set gives over the world's tables."""

import random
from typing import Any

import numpy as np
import pyarrow as pa

from services.online_features.reading import LABELS, PAYMENTS
from sluice_features.offline import execute
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import framed
from tests.unit.ingestion_gate.events import payment as fields_of
from tests.unit.online_features.events import DAY, MORNING, SECOND, driver, label, shipped, snapshots

PAYMENTS_OF_WORLD, DAYS = 1_200, 45
CUSTOMERS, TERMINALS = 25, 15


def world() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Payments in time order, and what is learnt of some of them a week later; a few are withdrawn."""
    draw = random.Random(11)
    times = sorted(MORNING + draw.randrange(DAYS * DAY) // SECOND * SECOND for _ in range(PAYMENTS_OF_WORLD))
    payments: list[dict[str, Any]] = [
        {
            "row_key": f"P-e{number:05}",
            "event_id": f"e{number:05}",
            "ts_utc": ts_utc,
            "customer_id": f"C{draw.randrange(CUSTOMERS)}",
            "terminal_id": f"T{draw.randrange(TERMINALS)}",
            "amount_minor": draw.randrange(50_000),
        }
        for number, ts_utc in enumerate(times)
    ]
    labels = []
    for paid in payments:
        if draw.random() < 0.1:
            learnt = paid["ts_utc"] + 7 * DAY
            told = {name: paid[name] for name in ("row_key", "customer_id", "terminal_id")}
            told |= {"effective_time": paid["ts_utc"], "observed_time": learnt, "is_fraud": True}
            labels.append(told)
            if draw.random() < 0.2:
                labels.append(told | {"observed_time": learnt + DAY, "is_fraud": False})
    labels.sort(key=lambda told: (told["observed_time"], told["row_key"]))
    return payments, labels


def streamed(payments: list[dict[str, Any]], labels: list[dict[str, Any]]) -> TopologyDriver:
    """The world in time order, labels ahead, in batches of many sizes."""
    of, draw = driver(graph_wait_ms=0), random.Random(3)
    events = [(told["observed_time"], 0, told) for told in labels]
    events += [(paid["ts_utc"], 1, paid) for paid in payments]
    left = 0
    for _, kind, one in sorted(events, key=lambda event: event[:2]):
        partition = int(one["customer_id"][1:]) % 4
        keys = {"customer": one["customer_id"], "terminal": one["terminal_id"]}
        if kind:
            of.pipe(PAYMENTS, _payment(one), partition=partition)
        else:
            observed, effective = one["observed_time"], one["effective_time"]
            value = label(one["row_key"], effective, observed, fraud=one["is_fraud"], **keys)
            of.pipe(LABELS, value, partition=partition)
        left -= 1
        if left <= 0:
            of.step()
            left = draw.choice((1, 7, 30, 120))
    of.step()
    return of


def _payment(one: dict[str, Any]) -> bytes:
    fields = fields_of(
        one["event_id"], ts_utc=one["ts_utc"], customer=one["customer_id"], amount=one["amount_minor"]
    )
    fields["payload"]["terminal_id"] = one["terminal_id"]
    return framed(fields)


def test_the_stages_snapshots_are_those_of_the_tables() -> None:
    payments, labels = world()
    found = {one["event_id"]: one for one in snapshots(streamed(payments, labels))}
    assert len(found) == PAYMENTS_OF_WORLD
    executed = execute(shipped(), pa.Table.from_pylist(payments), pa.Table.from_pylist(labels))
    risky = 0
    for row, paid in enumerate(payments):
        online = found[paid["event_id"]]
        assert online["values"] == executed.values[:, row].tolist()
        assert online["missing"] == np.flatnonzero(executed.missing[:, row]).tolist()
        labels_at = shipped().freshness_names.index("terminal_risk")
        assert online["freshness"][labels_at] == executed.freshness[labels_at, row]
        risky += online["values"][[one.name for one in shipped().features].index("terminal_risk_30d")] > 0
    assert risky > PAYMENTS_OF_WORLD // 4
