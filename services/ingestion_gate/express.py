"""Admission of traffic in columns: what holds for all events of a run on a partition is asked once.

It decides exactly as `Desk.traffic` does, and hands it whatever is no plain first admission: a duplicate, an
altered event, a wrong time or size, a run that is not open.
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
from sluice_kit.stage import Output, Record, TrailingOutput


@dataclass(frozen=True, slots=True)
class Route:
    """What one context's events on one lane share, as long as runs and policy stay."""

    run: Run
    principal: str
    profile: str
    path: str


Alike = tuple[Record, Mapping[str, Any], str, str]
"""What receipts share: lane partition (of a record), context, principal, partition profile."""


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
        """Find stretches of first admissions, which are written together, and what stands between them."""
        desk = self._desk
        overlay, known_of = desk.overlay, desk.known
        admitted, run_no = overlay.admitted, route.run.run_no
        limit, (oldest, latest) = self._screen.limit, desk.times_of(route.run)
        alike = (records[0], context_fields(rows[0].context), route.principal, route.profile)
        begin, fact = 0, overlay.facts
        for position, (record, row) in enumerate(zip(records, rows, strict=True)):
            _, _, _, _, ts_utc, _, key, payload_hash = row
            if (
                key not in admitted
                and known_of[key] is None
                and oldest <= ts_utc <= latest
                and len(record.value or b"") <= limit
            ):
                admitted[key] = Admission(fact, payload_hash, ts_utc, run_no)
                fact += 1
                continue
            self._admit(records[begin:position], rows[begin:position], keys[begin:position], alike)
            self._one_by_one(record)
            begin, fact = position + 1, overlay.facts
        self._admit(records[begin:], rows[begin:], keys[begin:], alike)

    def _admit(
        self, records: Sequence[Record], rows: Sequence[Row], keys: Sequence[str], alike: Alike
    ) -> None:
        """Write the facts and receipts of first admissions."""
        if not rows:
            return
        desk, contract = self._desk, rows[0].columns.contract
        assert contract.topic is not None
        _, _, _, event_ids, _, traceparents, _, payload_hashes = zip(*rows, strict=True)
        receipts = desk.writer.template("ADMIT", *alike).render(
            [record.offset for record in records],
            traceparents,
            event_ids,
            [payload_hash.hex() for payload_hash in payload_hashes],
            keys,
        )
        desk.result.facts += [
            Output(contract.topic, key.encode(), record.value or b"")
            for key, record in zip(keys, records, strict=True)
        ]
        desk.receipts += [
            TrailingOutput(RECEIPT_TOPIC, event_id.encode(), receipt, fact)
            for fact, (event_id, receipt) in enumerate(
                zip(event_ids, receipts, strict=True), desk.overlay.facts
            )
        ]
        desk.overlay.facts += len(rows)

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
