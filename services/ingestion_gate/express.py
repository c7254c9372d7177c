"""Admission of traffic in columns: what holds for all events of a run on a partition is asked once.

It decides exactly as `Desk.traffic` does, and hands it whatever is to be refused: an event altered under the
same id, a wrong time or size, a run that is not open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from services.ingestion_gate.admission import Desk
from services.ingestion_gate.model import Admission, Origin, Refusal
from services.ingestion_gate.receipts import RECEIPT_TOPIC
from services.ingestion_gate.rows import Row, context_fields
from services.ingestion_gate.screening import Screen, carries
from sluice_contracts import LANES
from sluice_kit.columnar import EventContext
from sluice_kit.stage import Coordinate, Output, Record, TrailingOutput


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What one context's events on one lane share, as long as runs and policy stay.

    `oldest` and `latest` are the ends of what `ts_utc` may be, in microseconds.
    """

    run_no: int
    oldest: int
    latest: int
    fields: Mapping[str, Any]
    principal: str
    origin: str
    profile: str
    path: str
    topic: str


class Settled(NamedTuple):
    """ADMIT or DUPLICATE, with the fact of this batch or the earlier coordinates that the receipt names."""

    decision: str
    fact: int | None
    known: Coordinate | None


class Express:
    """Admits rows under one policy; made anew when anything but traffic was handled."""

    def __init__(self, desk: Desk, screen: Screen) -> None:
        self._desk = desk
        self._screen = screen
        self._routes: dict[tuple[str, bool, EventContext], Route | None] = {}

    def admit(self, records: Sequence[Record], rows: Sequence[Row]) -> None:
        """Admit rows that stand on one lane partition, or were handed over for one; `records` are theirs."""
        routes = [self._route_of(records[0], row) for row in rows]
        keys = partition_keys(rows, routes)
        desk = self._desk
        overlay, known_of = desk.overlay, desk.known
        admitted, limit = overlay.admitted, self._screen.limit
        begin, fact = 0, overlay.facts
        settled: list[Settled] = []
        for position, (record, row, route, partition_key) in enumerate(
            zip(records, rows, routes, keys, strict=True)
        ):
            _, _, _, _, ts_utc, _, key, payload_hash = row
            pending = admitted.get(key)
            known = known_of[key] if pending is None else None
            first = pending or known
            sound = (
                route is not None
                and partition_key is not None
                and route.oldest <= ts_utc <= route.latest
                and len(record.value or b"") <= limit
            )
            if sound and first is None:
                assert route is not None
                admitted[key] = Admission(fact, payload_hash, ts_utc, route.run_no)
                settled.append(Settled("ADMIT", fact, None))
                fact += 1
            elif sound and first is not None and first.payload_hash == payload_hash:
                settled.append(
                    Settled(
                        "DUPLICATE",
                        None if pending is None else pending.fact,
                        None if known is None else known.coordinate,
                    )
                )
            else:
                self._write(slice(begin, position), records, rows, routes, keys, settled)
                self._one_by_one(record)
                begin, fact, settled = position + 1, overlay.facts, []
        self._write(slice(begin, len(rows)), records, rows, routes, keys, settled)

    def _write(  # noqa: PLR0917 - lists that run side by side
        self,
        part: slice,
        records: Sequence[Record],
        rows: Sequence[Row],
        routes: Sequence[Route | None],
        keys: Sequence[str | None],
        settled: Sequence[Settled],
    ) -> None:
        """Write facts and receipts of the settled rows in `part`, in their order."""
        if not settled:
            return
        desk = self._desk
        taken = [
            _Taken(*one, *what)
            for one, what in zip(
                zip(
                    records[part],
                    rows[part],
                    cast("Sequence[Route]", routes[part]),
                    cast("Sequence[str]", keys[part]),
                    strict=True,
                ),
                settled,
                strict=True,
            )
        ]
        facts = [
            Output(one.route.topic, one.key.encode(), one.record.value or b"")
            for one in taken
            if one.decision == "ADMIT"
        ]
        desk.result.facts += facts
        desk.overlay.facts += len(facts)
        desk.receipts += [
            TrailingOutput(RECEIPT_TOPIC, one.row.event_id.encode(), receipt, one.fact, one.known)
            for one, receipt in zip(taken, self._receipts(taken), strict=True)
        ]

    def _receipts(self, taken: Sequence["_Taken"]) -> list[bytes]:
        """The receipts, in order; those that one template renders are rendered at once."""
        alike: dict[tuple[Route, str], list[int]] = {}
        for index, one in enumerate(taken):
            alike.setdefault((one.route, one.decision), []).append(index)
        receipts = [b""] * len(taken)
        for (route, decision), chosen in alike.items():
            few = [taken[index] for index in chosen]
            template = self._desk.writer.template(
                decision, few[0].record, route.fields, route.principal, route.origin, route.profile
            )
            rendered = template.render(
                [one.record.offset for one in few],
                [one.row.traceparent for one in few],
                [one.row.event_id for one in few],
                [one.row.payload_hash.hex() for one in few],
                [one.key for one in few],
            )
            for index, receipt in zip(chosen, rendered, strict=True):
                receipts[index] = receipt
        return receipts

    def _route_of(self, record: Record, row: Row) -> Route | None:
        at = (record.topic, record.offset < 0, row.context)
        if at not in self._routes:
            self._routes[at] = self._route(record, row)
        return self._routes[at]

    def _route(self, record: Record, row: Row) -> Route | None:
        """None when something about the lane, the rights or the run is not as it should be."""
        context, contract, lane = row.context, row.columns.contract, LANES[record.topic]
        principal = lane.lane_principal or lane.owner
        if not carries(lane, contract):
            return None
        if self._screen.rights_problem(lane, principal, contract.event_type, context.tenant) is not None:
            return None
        run, fields = self._desk.overlay.run((context.tenant, context.run_id)), context_fields(context)
        if run is None or self._desk.run_problem(fields, run, record.topic) is not None:
            return None
        profile = self._desk.profile_of(contract.event_type)
        oldest, latest = self._desk.times_of(run)
        assert contract.topic is not None
        return Route(
            run.run_no,
            oldest,
            latest,
            fields,
            principal,
            Origin.CHAINED if record.offset < 0 else Origin.LANE,
            profile.profile,
            profile.path,
            contract.topic,
        )

    def _one_by_one(self, record: Record) -> None:
        found = self._screen.examine(record, Origin.CHAINED if record.offset < 0 else Origin.LANE)
        if isinstance(found, Refusal):
            self._desk.quarantine(found)
        else:
            self._desk.traffic(found)


class _Taken(NamedTuple):
    """A row that is written, with all that its fact and its receipt are made of."""

    record: Record
    row: Row
    route: Route
    key: str
    decision: str
    fact: int | None
    known: Coordinate | None


def partition_keys(rows: Sequence[Row], routes: Sequence[Route | None]) -> list[str | None]:
    """The rows' values at their routes' paths; None where that is no text or a row has none."""
    texts: dict[tuple[int, str], list[str | None] | None] = {}
    keys: list[str | None] = []
    for row, route in zip(rows, routes, strict=True):
        if route is None:
            keys.append(None)
            continue
        at = (id(row.columns), route.path)
        if at not in texts:
            try:
                texts[at] = row.columns.texts(route.path)
            except KeyError:
                texts[at] = None
        column = texts[at]
        keys.append(None if column is None else column[row.position])
    return keys


def rows_from(records: Sequence[Record], examined: Sequence[object], start: int) -> list[Row]:
    """The rows from `start` on that stand on one lane partition."""
    found: list[Row] = []
    place = records[start][:2]
    for index in range(start, len(examined)):
        row = examined[index]
        if not isinstance(row, Row) or records[index][:2] != place:
            break
        found.append(row)
    return found
