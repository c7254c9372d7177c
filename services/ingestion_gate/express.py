"""Admission of traffic in columns: what holds for all events of a run on a partition is asked once.

It decides exactly as `Desk.traffic` does, and hands it whatever is to be refused: an event altered under the
same id, a wrong time or size, a run that is not open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any, NamedTuple, cast

from services.ingestion_gate.admission import Desk
from services.ingestion_gate.model import Admission, Origin, Refusal
from services.ingestion_gate.receipts import RECEIPT_TOPIC
from services.ingestion_gate.rows import Row, context_fields, tuples_of
from services.ingestion_gate.screening import Screen, carries
from sluice_contracts import LANES
from sluice_kit.columnar import EventColumns, EventContext
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


class Lot(NamedTuple):
    """Rows of one lane partition, by columns, and what the records are to be written under."""

    records: Sequence[Record]
    event_ids: Sequence[str]
    times: Sequence[int]
    traceparents: Sequence[str | None]
    keys: Sequence[bytes]
    payload_hashes: Sequence[bytes]
    routes: Sequence[Route | None]
    partition_keys: Sequence[str | None]

    def part(self, which: slice) -> "Lot":
        """Rows that follow one another."""
        return Lot._make([column[which] for column in self])

    def those(self, wanted: Sequence[bool]) -> "Lot":
        """The wanted rows."""
        return Lot._make([list(compress(column, wanted)) for column in self])


class Settled(NamedTuple):
    """For each row ADMIT or DUPLICATE, with the fact of this batch or earlier coordinates for its receipt."""

    decisions: Sequence[str]
    facts: Sequence[int | None]
    known: Sequence[Coordinate | None]


class Express:
    """Admits rows under one policy; made anew when anything but traffic was handled."""

    def __init__(self, desk: Desk, screen: Screen) -> None:
        self._desk = desk
        self._screen = screen
        self._routes: dict[tuple[str, bool, EventContext], Route | None] = {}

    def admit(self, records: Sequence[Record], rows: Sequence[Row]) -> None:
        """Admit rows that stand on one lane partition, or were handed over for one; `records` are theirs."""
        lot = self._lot(records, rows)
        if self._all_new(lot):
            self._admit_all(lot)
        else:
            self._admit_each(lot)

    def _lot(self, records: Sequence[Record], rows: Sequence[Row]) -> Lot:
        _, _, contexts, event_ids, times, traceparents, keys, payload_hashes = zip(*rows, strict=True)
        row_of = dict(zip(contexts, rows, strict=True))
        route_of = {context: self._route_of(records[0], row) for context, row in row_of.items()}
        routes = list(map(route_of.__getitem__, contexts))
        return Lot(
            records,
            event_ids,
            times,
            traceparents,
            keys,
            payload_hashes,
            routes,
            partition_keys(rows, routes),
        )

    def _all_new(self, lot: Lot) -> bool:
        """Whether every row is surely to be admitted, none for the second time."""
        routes = [route for route in set(lot.routes) if route is not None]
        return (
            None not in lot.routes
            and None not in lot.partition_keys
            and max(route.oldest for route in routes) <= min(lot.times)
            and max(lot.times) <= min(route.latest for route in routes)
            and all(len(record.value or b"") <= self._screen.limit for record in lot.records)
            and len(set(lot.keys)) == len(lot.keys)
            and self._desk.overlay.admitted.keys().isdisjoint(lot.keys)
            and not any(map(self._desk.known.__getitem__, lot.keys))
        )

    def _admit_all(self, lot: Lot) -> None:
        count = len(lot.records)
        facts = range(self._desk.overlay.facts, self._desk.overlay.facts + count)
        runs = [route.run_no for route in cast("Sequence[Route]", lot.routes)]
        admissions = tuples_of(Admission, facts, lot.payload_hashes, lot.times, runs)
        self._desk.overlay.admitted.update(zip(lot.keys, admissions, strict=True))
        self._write(lot, Settled(["ADMIT"] * count, facts, [None] * count))

    def _admit_each(self, lot: Lot) -> None:
        """Settle rows one by one, in order; what is not sound is handed to the desk."""
        desk = self._desk
        overlay, known_of = desk.overlay, desk.known
        admitted, limit = overlay.admitted, self._screen.limit
        begin, fact = 0, overlay.facts
        settled: list[tuple[str, int | None, Coordinate | None]] = []
        for position, (record, _, ts_utc, _, key, payload_hash, route, partition_key) in enumerate(
            zip(*lot, strict=True)
        ):
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
                self._write_settled(lot.part(slice(begin, position)), settled)
                self._one_by_one(record)
                begin, fact, settled = position + 1, overlay.facts, []
        self._write_settled(lot.part(slice(begin, None)), settled)

    def _write_settled(self, lot: Lot, settled: Sequence[tuple[str, int | None, Coordinate | None]]) -> None:
        if settled:
            self._write(lot, Settled(*zip(*settled, strict=True)))

    def _write(self, lot: Lot, settled: Settled) -> None:
        """Write facts and receipts of the rows, in their order."""
        desk = self._desk
        values = [record.value or b"" for record in lot.records]
        topics = [route.topic for route in cast("Sequence[Route]", lot.routes)]
        keys = map(str.encode, cast("Sequence[str]", lot.partition_keys))
        facts = tuples_of(Output, topics, keys, values)
        if "DUPLICATE" in settled.decisions:
            fresh = [decision == "ADMIT" for decision in settled.decisions]
            facts = list(compress(facts, fresh))
        desk.result.facts += facts
        desk.overlay.facts += len(facts)
        desk.receipts += tuples_of(
            TrailingOutput,
            [RECEIPT_TOPIC] * len(values),
            map(str.encode, lot.event_ids),
            self._receipts(lot, settled.decisions),
            settled.facts,
            settled.known,
        )

    def _receipts(self, lot: Lot, decisions: Sequence[str]) -> list[bytes]:
        """The receipts, in order; those that one template renders are rendered at once."""
        kinds = list(zip(lot.routes, decisions, strict=True))
        distinct = dict.fromkeys(kinds)
        if len(distinct) == 1:
            return self._rendered(lot, decisions[0])
        rendered = {
            kind: iter(self._rendered(lot.those([kind == other for other in kinds]), kind[1]))
            for kind in distinct
        }
        return [next(rendered[kind]) for kind in kinds]

    def _rendered(self, lot: Lot, decision: str) -> list[bytes]:
        """The receipts of rows that have one route and one decision."""
        route = cast("Route", lot.routes[0])
        template = self._desk.writer.template(
            decision, lot.records[0], route.fields, route.principal, route.origin, route.profile
        )
        return template.render(
            [record.offset for record in lot.records],
            lot.traceparents,
            lot.event_ids,
            [payload_hash.hex() for payload_hash in lot.payload_hashes],
            cast("Sequence[str]", lot.partition_keys),
        )

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


def partition_keys(rows: Sequence[Row], routes: Sequence[Route | None]) -> list[str | None]:
    """The rows' values at their routes' paths; None where that is no text or a row has none."""
    columns, positions, *_ = zip(*rows, strict=True)
    sources = list(zip(columns, routes, strict=True))
    texts = {source: _texts_at(*source) for source in set(sources)}
    return [texts[source][position] for source, position in zip(sources, positions, strict=True)]


def _texts_at(columns: EventColumns, route: Route | None) -> list[str | None]:
    nothing: list[str | None] = [None] * len(columns.rows)
    if route is None:
        return nothing
    try:
        return columns.texts(route.path)
    except KeyError:
        return nothing


def rows_from(records: Sequence[Record], examined: Sequence[object], start: int) -> list[Row]:
    """The rows from `start` on that stand on one lane partition."""
    found: list[Row] = []
    place = records[start][:2]
    for row, record in zip(islice(examined, start, None), islice(records, start, None), strict=True):
        if not isinstance(row, Row) or record[:2] != place:
            break
        found.append(row)
    return found
