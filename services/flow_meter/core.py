"""The flow meter's step: pure. Tallies payments per run and event minute; reports each hour once it closed.

An hour closes when the run's watermark has passed its end, so what is written does not depend on how records
fell into batches. What comes for a closed hour is late: it is counted as such and changes no report.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from services.flow_meter.reading import Payment, pins_of, read_payments
from sluice_contracts import TOPICS, contract_for, derived_id
from sluice_kit.stage import Batch, Record, StepResult, TrailingOutput
from sluice_kit.stage.keyed_state import KeyedOverlay
from sluice_kit.stage.watermark import advance_watermark, watermark_scopes

SERVICE = "flow_meter"
TRAFFIC = "traffic.payment"
LANE = "ingress.flow_meter"
TALLY = "state.flow_meter.tally"
MINUTE = 60_000_000
HOUR = 60 * MINUTE
"""Microseconds of event time that a tally and a report cover."""
IDLE_AFTER = 5_000_000
"""Microseconds of `now` after which a silent partition no longer holds a run's time back."""

_REPORT = contract_for("flow_report", 1)
_TALLY = contract_for("flow_tally", 1)
_NOTHING = {"events": 0, "amount": 0, "currencies": {}, "last": [0, ""]}
Fields = Mapping[str, Any]


def step(overlay: KeyedOverlay, batch: Batch) -> StepResult:
    """Count the payments of a batch and report the hours that closed."""
    seen: dict[str, dict[int, int]] = {}
    for run, of_run in groupby(read_payments(batch.records), key=attrgetter("run")):
        payments = list(of_run)
        _count(overlay, run, payments, batch.records)
        seen[run] = {payment.partition: payment.ts_utc for payment in payments}
    result = StepResult()
    for run in sorted(seen.keys() | set(watermark_scopes(overlay))):
        low = advance_watermark(
            overlay,
            run,
            seen.get(run, {}),
            partitions=TOPICS[TRAFFIC].partitions,
            now=batch.now,
            idle_after=IDLE_AFTER,
        )
        _close_hours(overlay, run, low, result)
    return result


def _count(overlay: KeyedOverlay, scope: str, payments: Sequence[Payment], records: Sequence[Record]) -> None:
    """Count payments of one run, in their order: the late ones come first."""
    run = overlay.get(f"run|{scope}")
    if run is None:
        pins = pins_of(records[payments[0].number])
        run = {"pins": pins, "open": [], "closed_to": 0, "late": 0}
    late = bisect_left(payments, run["closed_to"], key=attrgetter("ts_utc"))
    tallies: dict[int, Fields] = {}
    opened = []
    for payment in payments[late:]:
        minute = payment.ts_utc // MINUTE * MINUTE
        tally = tallies.get(minute)
        if tally is None:
            tally = overlay.get(_minute_key(scope, minute))
            if tally is None:
                opened.append(minute)
                tally = _NOTHING
        tallies[minute] = _added(tally, payment)
    if late or opened:
        run = {**run, "open": sorted([*run["open"], *opened]), "late": run["late"] + late}
        overlay.put(f"run|{scope}", run)
    for minute, tally in tallies.items():
        overlay.put(_minute_key(scope, minute), tally)


def _added(tally: Fields, payment: Payment) -> Fields:
    """The tally of a minute with one more payment of it."""
    currencies: Mapping[str, int] = tally["currencies"]
    added = currencies.get(payment.currency, 0) + payment.amount
    return {
        "events": tally["events"] + 1,
        "amount": tally["amount"] + payment.amount,
        "currencies": {**currencies, payment.currency: added},
        "last": max(tally["last"], [payment.ts_utc, payment.event_id]),
    }


def _minute_key(scope: str, minute: int) -> str:
    return f"minute|{scope}|{minute:020d}"


def _close_hours(overlay: KeyedOverlay, scope: str, low: int, result: StepResult) -> None:
    """Report the hours of a run that its watermark has passed: all before `closed_to`."""
    run = overlay.get(f"run|{scope}")
    if run is None:
        return
    closed_to = low // HOUR * HOUR
    closing = bisect_left(run["open"], closed_to)
    if not closing:
        return
    pins = run["pins"]
    for hour, minutes in groupby(run["open"][:closing], key=lambda minute: minute // HOUR * HOUR):
        tallies = []
        for minute in minutes:
            key = _minute_key(scope, minute)
            tally = overlay.get(key)
            overlay.remove(key)
            tallies.append(tally)
            result.trailing.append(_tally(pins, minute, tally))
        result.trailing.append(_report(pins, hour, tallies))
    last = run["open"][closing - 1]
    overlay.put(
        f"run|{scope}", {**run, "open": run["open"][closing:], "closed_to": last // HOUR * HOUR + HOUR}
    )


def _report(pins: Fields, hour: int, tallies: Sequence[Fields]) -> TrailingOutput:
    event_id = derived_id("sluice.flow_report.v1", pins["tenant"], pins["run_id"], hour)
    currencies: Counter[str] = Counter()
    for tally in tallies:
        currencies.update(tally["currencies"])
    value = _REPORT.encode(
        {
            **pins,
            "event_id": event_id,
            "event_type": "flow_report",
            "ts_utc": hour + HOUR,
            "schema_version": 1,
            "emitted_at_utc": None,
            "producer": SERVICE,
            "parent_event_id": None,
            "traceparent": None,
            "payload": {
                "window_start": hour,
                "window_end": hour + HOUR,
                "events": sum(tally["events"] for tally in tallies),
                "amount_minor_total": sum(tally["amount"] for tally in tallies),
                "currencies": dict(sorted(currencies.items())),
                "watermark": hour + HOUR,
                "service": SERVICE,
            },
        }
    )
    return TrailingOutput(LANE, pins["run_id"].encode(), value)


def _tally(pins: Fields, minute: int, tally: Fields) -> TrailingOutput:
    value = _TALLY.encode(
        {
            "tenant": pins["tenant"],
            "run_id": pins["run_id"],
            "minute": minute,
            "events": tally["events"],
            "amount_minor_total": tally["amount"],
            "last_event_id": tally["last"][1],
        }
    )
    return TrailingOutput(TALLY, f"{pins['tenant']}|{pins['run_id']}|{minute}".encode(), value)
