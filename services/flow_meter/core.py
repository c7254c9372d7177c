"""The flow meter's step: pure. Tallies payments per run and event minute, reports each minute once it closed.

A minute closes when the run's watermark has passed its end, so a report does not depend on how records fell
into batches. What comes for a closed minute is late: it goes into the run's late count and changes no report.
"""

from collections.abc import Mapping
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
    """Count the payments of a batch and report the minutes that closed."""
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
        _close_minutes(overlay, scope, low, result)
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


def _close_minutes(overlay: KeyedOverlay, scope: str, low: int, result: StepResult) -> None:
    run = overlay.get(f"run|{scope}")
    if run is None:
        return
    closing = [minute for minute in run["open"] if minute + MINUTE <= low]
    if not closing:
        return
    for minute in closing:
        key = f"minute|{scope}|{minute:020d}"
        tally = overlay.get(key)
        overlay.remove(key)
        result.trailing.append(_report(run["pins"], minute, tally))
        result.trailing.append(_tally(run["pins"], minute, tally))
    rest = [minute for minute in run["open"] if minute not in closing]
    overlay.put(f"run|{scope}", {**run, "open": rest, "closed_to": closing[-1] + MINUTE})


def _report(pins: Fields, minute: int, tally: Fields) -> TrailingOutput:
    event_id = derived_id("sluice.flow_report.v1", pins["tenant"], pins["run_id"], minute)
    value = _REPORT.encode(
        {
            **pins,
            "event_id": event_id,
            "event_type": "flow_report",
            "ts_utc": minute + MINUTE,
            "schema_version": 1,
            "emitted_at_utc": None,
            "producer": SERVICE,
            "parent_event_id": None,
            "traceparent": None,
            "payload": {
                "window_start": minute,
                "window_end": minute + MINUTE,
                "events": tally["events"],
                "amount_minor_total": tally["amount"],
                "currencies": dict(sorted(tally["currencies"].items())),
                "watermark": minute + MINUTE,
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
