"""Admission of traffic in columns: what holds for all events of a run on a partition is asked once.

It decides exactly as `Desk.traffic` does, and hands it whatever is to be refused: an event altered under the
same id, a wrong time or size, a run that is not open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.ingestion_gate.admission import Desk
from services.ingestion_gate.model import Admission, Origin, Refusal, Run
from services.ingestion_gate.receipts import RECEIPT_TOPIC
from services.ingestion_gate.rows import Row, context_fields
from services.ingestion_gate.screening import Screen, carries
from sluice_contracts import LANES
from sluice_kit.columnar import EventContext
from sluice_kit.stage import Coordinate, Output, Record, TrailingOutput


@dataclass(frozen=True, slots=True)
class Route:
    """What one context's events on one lane share, as long as runs and policy stay."""

    run: Run
    principal: str
    profile: str
    path: str


Alike = tuple[Record, Mapping[str, Any], str, str]
"""What receipts share: lane partition (of a record), context, principal, partition profile."""


Settled = tuple[str, int | None, Coordinate | None]
"""ADMIT or DUPLICATE, with the fact of this batch or the earlier coordinates that the receipt names."""


class Express:
    """Admits rows under one policy; made anew when anything but traffic was handled."""

    def __init__(self, desk: Desk, screen: Screen) -> None:
        self._desk = desk
        self._screen = screen
        self._routes: dict[tuple[str, EventContext], Route | None] = {}

    def admit(self, records: Sequence[Record], rows: Sequence[Row]) -> None:
        """Admit rows of one context that stand on one lane partition; `records` are theirs, in order."""
        first = rows[0]
        at = (records[0].topic, first.context)
        if at not in self._routes:
            self._routes[at] = self._route(records[0].topic, first)
        route = self._routes[at]
        keys = None if route is None else partition_keys(rows, route.path)
        if route is None or keys is None:
            for record in records:
                self._one_by_one(record)
        else:
            self._settle(route, records, rows, keys)

    def _settle(
        self, route: Route, records: Sequence[Record], rows: Sequence[Row], keys: Sequence[str]
    ) -> None:
        """Decide event by event; what is admitted or a duplicate is written by stretches."""
        desk = self._desk
        overlay, known_of = desk.overlay, desk.known
        admitted, run_no = overlay.admitted, route.run.run_no
        limit, (oldest, latest) = self._screen.limit, desk.times_of(route.run)
        alike = (records[0], context_fields(rows[0].context), route.principal, route.profile)
        begin, fact = 0, overlay.facts
        settled: list[Settled] = []
        for position, (record, row) in enumerate(zip(records, rows, strict=True)):
            _, _, _, _, ts_utc, _, key, payload_hash = row
            pending = admitted.get(key)
            known = known_of[key] if pending is None else None
            first = pending or known
            sound = oldest <= ts_utc <= latest and len(record.value or b"") <= limit
            if sound and first is None:
                admitted[key] = Admission(fact, payload_hash, ts_utc, run_no)
                settled.append(("ADMIT", fact, None))
                fact += 1
            elif sound and first is not None and first.payload_hash == payload_hash:
                settled.append(
                    (
                        "DUPLICATE",
                        None if pending is None else pending.fact,
                        None if known is None else known.coordinate,
                    )
                )
            else:
                self._write(
                    records[begin:position], rows[begin:position], keys[begin:position], settled, alike
                )
                self._one_by_one(record)
                begin, fact, settled = position + 1, overlay.facts, []
        self._write(records[begin:], rows[begin:], keys[begin:], settled, alike)

    def _write(
        self,
        records: Sequence[Record],
        rows: Sequence[Row],
        keys: Sequence[str],
        settled: Sequence[Settled],
        alike: Alike,
    ) -> None:
        """Write facts and receipts of settled rows, in their order."""
        if not rows:
            return
        desk, topic = self._desk, rows[0].columns.contract.topic
        assert topic is not None
        receipts = [b""] * len(rows)
        for decision in ("ADMIT", "DUPLICATE"):
            chosen = [index for index, (what, _, _) in enumerate(settled) if what == decision]
            if chosen:
                template = desk.writer.template(decision, *alike)
                rendered = template.render(
                    [records[index].offset for index in chosen],
                    [rows[index].traceparent for index in chosen],
                    [rows[index].event_id for index in chosen],
                    [rows[index].payload_hash.hex() for index in chosen],
                    [keys[index] for index in chosen],
                )
                for index, receipt in zip(chosen, rendered, strict=True):
                    receipts[index] = receipt
        facts = [
            Output(topic, key.encode(), record.value or b"")
            for key, record, (what, _, _) in zip(keys, records, settled, strict=True)
            if what == "ADMIT"
        ]
        desk.result.facts += facts
        desk.overlay.facts += len(facts)
        desk.receipts += [
            TrailingOutput(RECEIPT_TOPIC, row.event_id.encode(), receipt, fact, known)
            for row, receipt, (_, fact, known) in zip(rows, receipts, settled, strict=True)
        ]

    def _route(self, topic: str, row: Row) -> Route | None:
        """None when something about the lane, the rights or the run is not as it should be."""
        context, contract, lane = row.context, row.columns.contract, LANES[topic]
        principal = lane.lane_principal or lane.owner
        if not carries(lane, contract):
            return None
        if self._screen.rights_problem(lane, principal, contract.event_type, context.tenant) is not None:
            return None
        run = self._desk.overlay.run((context.tenant, context.run_id))
        if run is None or self._desk.run_problem(context_fields(context), run, topic) is not None:
            return None
        profile = self._desk.profile_of(contract.event_type)
        return Route(run, principal, profile.profile, profile.path)

    def _one_by_one(self, record: Record) -> None:
        found = self._screen.examine(record, Origin.LANE)
        if isinstance(found, Refusal):
            self._desk.quarantine(found)
        else:
            self._desk.traffic(found)


def partition_keys(rows: Sequence[Row], path: str) -> list[str] | None:
    """The rows' values at `path`; None when it is no text or a row has none."""
    try:
        keys = [key for row in rows if (key := row.columns.texts(path)[row.position]) is not None]
    except KeyError:
        return None
    return keys if len(keys) == len(rows) else None


def alike_rows(records: Sequence[Record], examined: Sequence[object], start: int) -> list[Row]:
    """The rows from `start` on that share contract, context and lane partition with the first."""
    alike: list[Row] = []
    place = records[start][:2]
    for index in range(start, len(examined)):
        row = examined[index]
        if not isinstance(row, Row) or records[index][:2] != place:
            break
        if alike and (
            row.context is not alike[0].context or row.columns.contract is not alike[0].columns.contract
        ):
            break
        alike.append(row)
    return alike
