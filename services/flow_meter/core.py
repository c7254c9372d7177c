"""The flow meter's step: pure. Tallies payments per run and event minute; reports each hour once it closed.

An hour closes when the run's watermark has passed its end, so what is written does not depend on how records
fell into batches. What comes for a closed hour is late: it is counted as such and changes no report.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from services.flow_meter.reading import Payment, pins_of, read_payments
from services.flow_meter.tallies import TallyWriter
from sluice_contracts import TOPICS, contract_for, derived_id
from sluice_kit.stage import Batch, Record, StepResult, TrailingOutput
from sluice_kit.stage.keyed_state import KeyedOverlay
from sluice_kit.stage.watermark import advance_watermark, watermark_scopes

SERVICE = "flow_meter"
TRAFFIC = "traffic.payment"
LANE = "ingress.flow_meter"
MINUTE = 60_000_000
HOUR = 60 * MINUTE
"""Microseconds of event time that a tally and a report cover."""
IDLE_AFTER = 5_000_000
"""Microseconds of `now` after which a silent partition no longer holds a run's time back."""

_REPORT = contract_for("flow_report", 1)
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
    if late:
        run = {**run, "late": run["late"] + late}
        overlay.put(f"run|{scope}", run)
    opened: list[int] = []
    for minute, of_minute in groupby(payments[late:], key=minute_of):
        key = _minute_key(scope, minute)
        tally = overlay.get(key)
        if tally is None:
            if not opened:
                overlay.put(f"run|{scope}", run)  # keys keep the places that they have in older snapshots
            opened.append(minute)
            tally = _NOTHING
        overlay.put(key, _added(tally, of_minute))
    if opened:
        overlay.put(f"run|{scope}", {**run, "open": sorted([*run["open"], *opened])})


def minute_of(payment: Payment) -> int:
    """The start of the minute of event time that a payment falls into."""
    return payment.ts_utc // MINUTE * MINUTE


def _minute_key(scope: str, minute: int) -> str:
    return f"minute|{scope}|{minute:020d}"


def _added(tally: Fields, payments: Iterable[Payment]) -> Fields:
    """The tally of a minute with more payments of it."""
    events, amount, last = tally["events"], tally["amount"], tally["last"]
    currencies = dict(tally["currencies"])
    for payment in payments:
        events += 1
        amount += payment.amount
        currencies[payment.currency] = currencies.get(payment.currency, 0) + payment.amount
        last = max(last, [payment.ts_utc, payment.event_id])
    return {"events": events, "amount": amount, "currencies": currencies, "last": last}


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
    write_tally = TallyWriter(pins["tenant"], pins["run_id"]).write
    for hour, minutes in groupby(run["open"][:closing], key=lambda minute: minute // HOUR * HOUR):
        tallies = []
        for minute in minutes:
            key = _minute_key(scope, minute)
            tally = overlay.get(key)
            overlay.remove(key)
            tallies.append(tally)
            result.trailing.append(write_tally(minute, tally))
        result.trailing.append(_report(pins, hour, tallies))
    last = run["open"][closing - 1]
    overlay.put(
        f"run|{scope}", {**run, "open": run["open"][closing:], "closed_to": last // HOUR * HOUR + HOUR}
    )


def _report(pins: Fields, hour: int, tallies: Sequence[Fields]) -> TrailingOutput:
    event_id = derived_id("sluice.flow_report.v1", pins["tenant"], pins["run_id"], hour)
    currencies: dict[str, int] = defaultdict(int)
    for tally in tallies:
        for currency, amount in tally["currencies"].items():
            currencies[currency] += amount
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
