"""The generator of the loop bench: payments and labels of a world of the reference engine, one after another.

The model of the bench learns on a world of the same parameters and another seed, so decisions are those of
ordinary traffic: one payment in twenty leads to a call. A world that is at its end comes again as the next
month, and entities keep their history. All belongs to the standing run of the default tenant.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count as numbers_from
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sluice_bench.paced_sending import send_paced
from sluice_bench.pacing import Pace
from sluice_bench.payments import PLACE, PRINCIPAL, Generator, bench_event_id
from sluice_contracts import NO_PINS, STANDING, encode
from sluice_engine import EngineSpec, ReferenceEngine, WorldParameters
from sluice_engine.parameters import DAY_MICROS
from sluice_kit.config.wiring import POLICY_DIR
from sluice_oracle.columns import LABEL_EVENT_SCHEMA, LABEL_EVENTS, PAYMENT_SCHEMA

START: Final = "2019-01-01"
"""Many months of traffic have room before now: the gate takes no payment of the future."""
SEED: Final = 9
_PACK_SECONDS: Final = 0.01
"""A hundred requests a second, as a publisher sends them that gathers for 10 ms."""
_HORIZON_SECONDS: Final = 20 * 366 * 86_400
_LABEL_TIMES: Final = ("effective_time", "observed_time")
_ENVELOPE: Final = {
    "schema_version": 1,
    "manifest_fingerprint": NO_PINS,
    "tenant": "default",
    "parameter_hash": NO_PINS,
    "scenario_id": STANDING,
    "run_id": STANDING,
    "seed": SEED,
    "producer": PRINCIPAL,
    "traceparent": None,
}


class Slice(NamedTuple):
    """Payments `first`, `first` + 1, … of endless traffic of worlds of `world_events` payments."""

    mark: str
    world_events: int
    first: int
    payments: int

    def ids(self) -> dict[str, int]:
        """Event id of each payment to its number in the slice."""
        return {bench_event_id(self.mark, self.first + n): n for n in range(self.payments)}


class _Row(NamedTuple):
    """An event of a world: `at` within the world's span, the payment that it is or follows, its payload."""

    at: int
    is_payment: bool
    payment: int
    payload: dict[str, Any]


def gate_policy() -> dict[str, Any]:
    """The shipped policy, but that a standing run takes payments of worlds whose months lie far back."""
    policy: dict[str, Any] = yaml.safe_load((POLICY_DIR / "ingestion_gate.yaml").read_text(encoding="utf-8"))
    policy["revision"] = "bench"
    policy["limits"]["standing_horizon_seconds"] = _HORIZON_SECONDS
    return policy


def loop_values(wanted: Slice) -> Iterator[tuple[int, bytes]]:
    """Framed events of a slice, each with the number in the slice of the payment that it is or precedes."""
    rows, span = _world(wanted.world_events)
    emitted = time.time_ns() // 1_000
    month, start = divmod(wanted.first, wanted.world_events)
    begin = 1 + _place(rows, start - 1) if start else 0
    done = 0
    for turn in numbers_from(month):
        for row in rows[begin:]:
            number = turn * wanted.world_events + row.payment
            if number >= 0:  # the first month has no labels of a month before
                yield done, _encoded(wanted.mark, row, number, turn * span, emitted)
            done += row.is_payment
            if done == wanted.payments:
                return
        begin = 0


def preload_loop(wiring: dict[str, Any], wanted: Slice) -> int:
    """Write a slice's events to the lane as it goes; returns the bytes of all values."""
    generator, size = Generator(wiring), 0
    for _, value in loop_values(wanted):
        size += len(value)
        generator.send(value)
    generator.flush()
    return size


def paced_loop(wiring: dict[str, Any], wanted: Slice, pace: Pace, start_at: float) -> float:
    """Send a slice's events at the pace of its payments, late ones at once; `start_at` in monotonic seconds.

    Returns by how many seconds the generator itself was late at most.
    """
    return send_paced(wiring, PRINCIPAL, PLACE, list(loop_values(wanted)), pace, start_at, _PACK_SECONDS)


@lru_cache(maxsize=1)
def _world(events: int) -> tuple[list[_Row], int]:
    """A world's events in the order of time, labels first at ties, and its span in microseconds.

    A label that is due after the end stands where it comes in the next turn; its payment is one of the
    turn before.
    """
    parameters = WorldParameters.model_validate({"events": events, "start": START})
    span = parameters.days * DAY_MICROS
    with tempfile.TemporaryDirectory(prefix="sluice-bench-world-") as name:
        folder = Path(name) / "world"
        spec = EngineSpec(scenario_id="bench", seed=SEED, parameters=parameters.model_dump(mode="json"))
        ReferenceEngine().generate(spec, folder)
        payments = _read(folder, "payments", PAYMENT_SCHEMA)
        labels = _read(folder, LABEL_EVENTS, LABEL_EVENT_SCHEMA)
    number_of = {payment["payment_id"]: number for number, payment in enumerate(payments)}
    rows = [
        _Row(payment.pop("ts_utc"), is_payment=True, payment=number, payload=payment)
        for number, payment in enumerate(payments)
    ]
    for label in labels:
        turns, _ = divmod(label["ts_utc"] - parameters.start_micros, span)
        number = number_of[label["payment_id"]] - turns * events
        at, told = label.pop("ts_utc"), {name: label[name] - turns * span for name in _LABEL_TIMES}
        rows.append(_Row(at - turns * span, is_payment=False, payment=number, payload=label | told))
    rows.sort(key=lambda row: (row.at, row.is_payment))
    return rows, span


def _place(rows: Sequence[_Row], payment: int) -> int:
    """Where a payment stands among the rows."""
    return next(at for at, row in enumerate(rows) if row.is_payment and row.payment == payment)


def _read(folder: Path, output: str, schema: pa.Schema) -> list[dict[str, Any]]:
    """Rows as payloads of the contract: times in microseconds, without the row key and without nulls."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted((folder / output).iterdir())])
    columns = {
        name: table[name].cast(pa.int64()).to_pylist()
        if pa.types.is_timestamp(schema.field(name).type)
        else table[name].to_pylist()
        for name in schema.names
        if name != "row_key"
    }
    return [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]


def _encoded(mark: str, row: _Row, number: int, shift: int, emitted: int) -> bytes:
    """The event about payment `number` of the traffic, `shift` microseconds later than in its world."""
    subject = bench_event_id(mark, number)
    payload = row.payload | {"payment_id": f"P{number:012d}"}
    envelope = _ENVELOPE | {"ts_utc": row.at + shift, "emitted_at_utc": emitted}
    if row.is_payment:
        own = {"event_id": subject, "event_type": "payment", "parent_event_id": None}
        return encode("payment", 1, envelope | own | {"payload": payload})
    payload |= {"label_id": f"L{number:012d}", "subject_event_id": subject}
    payload |= {name: payload[name] + shift for name in _LABEL_TIMES}
    own = {
        "event_id": bench_event_id(f"{mark}-label", number),
        "event_type": "label",
        "parent_event_id": subject,
    }
    return encode("label", 1, envelope | own | {"payload": payload})
