"""The flow meter's step: pure. Tallies payments per run and event minute; reports each hour once it closed.

An hour closes when the run's watermark has passed its end, so what is written does not depend on how records
fell into batches. What comes for a closed hour is late: it is counted as such and changes no report.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sluice_contracts import TOPICS, Decoded, contract_for, decode, derived_id
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

PINS = ("manifest_fingerprint", "tenant", "parameter_hash", "scenario_id", "run_id", "seed")
_REPORT = contract_for("flow_report", 1)
_TALLY = contract_for("flow_tally", 1)
Fields = Mapping[str, Any]


def event_time(record: Record) -> tuple[str, int]:
    """Run and `ts_utc` of a record: what the kit merges partitions by."""
    found = decode(record.value)
    if not isinstance(found, Decoded):
        return "", 0
    return scope_of(found.fields), found.fields["ts_utc"]


def scope_of(fields: Fields) -> str:
    """A run, as a key."""
    return f"{fields['tenant']}|{fields['run_id']}"


def step(overlay: KeyedOverlay, batch: Batch) -> StepResult:
    """Count the payments of a batch and report the hours that closed."""
    seen: dict[str, dict[int, int]] = {}
    for record in batch.records:
        found = decode(record.value)
        if not isinstance(found, Decoded) or found.contract.event_type != "payment":
            continue
        scope = scope_of(found.fields)
        _count(overlay, scope, found.fields)
        times = seen.setdefault(scope, {})
        times[record.partition] = max(times.get(record.partition, 0), found.fields["ts_utc"])
    result = StepResult()
    for scope in sorted(seen.keys() | set(watermark_scopes(overlay))):
        low = advance_watermark(
            overlay,
            scope,
            seen.get(scope, {}),
            partitions=TOPICS[TRAFFIC].partitions,
            now=batch.now,
            idle_after=IDLE_AFTER,
        )
        _close_hours(overlay, scope, low, result)
    return result


def _count(overlay: KeyedOverlay, scope: str, fields: Fields) -> None:
    run = overlay.get(f"run|{scope}")
    if run is None:
        run = {"pins": {name: fields[name] for name in PINS}, "open": [], "closed_to": 0, "late": 0}
    minute = fields["ts_utc"] // MINUTE * MINUTE
    if minute < run["closed_to"]:
        overlay.put(f"run|{scope}", {**run, "late": run["late"] + 1})
        return
    key = f"minute|{scope}|{minute:020d}"
    tally = overlay.get(key)
    if tally is None:
        tally = {"events": 0, "amount": 0, "currencies": {}, "last": [0, ""]}
        overlay.put(f"run|{scope}", {**run, "open": sorted({*run["open"], minute})})
    payload = fields["payload"]
    currency, amount = payload["currency"], payload["amount_minor"]
    overlay.put(
        key,
        {
            "events": tally["events"] + 1,
            "amount": tally["amount"] + amount,
            "currencies": {**tally["currencies"], currency: tally["currencies"].get(currency, 0) + amount},
            "last": max(tally["last"], [fields["ts_utc"], fields["event_id"]]),
        },
    )


def _close_hours(overlay: KeyedOverlay, scope: str, low: int, result: StepResult) -> None:
    run = overlay.get(f"run|{scope}")
    if run is None:
        return
    hours = sorted({minute // HOUR * HOUR for minute in run["open"]})
    closing = [hour for hour in hours if hour + HOUR <= low]
    if not closing:
        return
    for hour in closing:
        tallies = []
        for minute in [minute for minute in run["open"] if minute // HOUR * HOUR == hour]:
            key = f"minute|{scope}|{minute:020d}"
            tally = overlay.get(key)
            overlay.remove(key)
            tallies.append(tally)
            result.trailing.append(_tally(run["pins"], minute, tally))
        result.trailing.append(_report(run["pins"], hour, tallies))
    closed_to = closing[-1] + HOUR
    rest = [minute for minute in run["open"] if minute >= closed_to]
    overlay.put(f"run|{scope}", {**run, "open": rest, "closed_to": closed_to})


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
