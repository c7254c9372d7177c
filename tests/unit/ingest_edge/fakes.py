"""The edge without a broker: lane, receipts and decisions that a test hands out, a fabric over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx

from services.ingest_edge.api import EdgeApi
from services.ingest_edge.app import edge_app
from services.ingest_edge.arrivals import Arrivals, Fields
from services.ingest_edge.core import Framed
from services.ingest_edge.deciding import Decisions
from services.ingest_edge.decision_client import DecisionClient
from services.ingest_edge.decision_facts import DecisionFacts
from services.ingest_edge.decision_follower import DecisionFollower
from services.ingest_edge.gate_client import GateClient
from services.ingest_edge.lane_writer import LanePlace, LaneWriter
from services.ingest_edge.limits import Limits
from services.ingest_edge.promises import Promises
from services.ingest_edge.publishing import Publisher
from services.ingest_edge.receipt_follower import ReceiptFollower
from services.ingest_edge.settings import EdgePolicy
from sluice_contracts import CONTRACTS, Decoded, decision_id, decode
from sluice_kit.config import Wiring
from sluice_kit.config.wiring import ArtifactWiring, KafkaWiring, OracleWiring
from sluice_kit.http.bearer_tokens import TokenBook, issue_token
from sluice_kit.kafka.record_fetcher import RecordFetcher
from sluice_kit.receipts import ReceiptView
from sluice_kit.stage import Coordinate
from sluice_kit.telemetry import EventSampler, Health, Span

EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
TOKENS = {name: issue_token(name) for name in ("partner_acme", "partner_beta")}


def example(event_type: str) -> Fields:
    found = decode((EXAMPLES / f"{event_type}.v1" / "full.bin").read_bytes())
    assert isinstance(found, Decoded)
    return found.fields


class FakeGate:
    """Lane, receipts and look-ups of one gate: a first event is admitted, the same again is a duplicate."""

    def __init__(self) -> None:
        self.away = False
        self.forgotten = False
        """The edge was started anew: it knows of no receipt but those that come."""
        self.open = opened()
        """Closed: the REST interface hangs."""
        self.verdict: str | None = None
        self.on_admission: Callable[[Framed], None] = lambda _: None
        self._sent: list[tuple[Framed, str]] = []
        self._firsts: dict[tuple[str, ...], Fields] = {}
        self._receipts: list[Fields] = []

    # -- the lane

    def send(self, event: Framed, principal: str) -> asyncio.Future[LanePlace]:
        place: asyncio.Future[LanePlace] = asyncio.get_running_loop().create_future()
        offset = len(self._sent)
        self._sent.append((event, principal))
        place.set_result(LanePlace(0, offset))
        return place

    # -- receipts

    def is_ready(self) -> bool:
        return True

    def expect(self, partition: int, offset: int) -> asyncio.Future[Fields]:
        del partition
        event, principal = self._sent[offset]
        receipt: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        key = (event.tenant, event.run_id, event.event_type, event.event_id)
        decision = self.verdict or ("DUPLICATE" if key in self._firsts else "ADMIT")
        fields = receipt_of(event, principal, decision)
        if decision == "ADMIT":
            self._firsts[key] = fields
            self.on_admission(event)
        self._receipts.append(fields)
        receipt.set_result(fields)
        return receipt

    def first(self, key: tuple[str, ...]) -> Fields | None:
        return None if self.forgotten else self._firsts.get(key)

    # -- its REST

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await self.open.wait()
        event_id = request.url.path.rsplit("/", 1)[1]
        found = [one for one in map(ReceiptView.of, self._receipts) if one.event_id == event_id]
        if not found:
            return httpx.Response(404)
        return httpx.Response(200, json={"receipts": [one.model_dump() for one in found]})

    def admits_decision(self, event_id: str, offset: int) -> None:
        """Its receipt of the decision about a payment, which stands on the bus at ``offset``."""
        made = decision_about(event_id)
        receipt = receipt_of_event(made["event_id"], "decision", principal="decision_fabric")
        place = {"eb_topic": "traffic.decision", "eb_partition": 0, "eb_offset": offset}
        self._receipts.append(receipt | {"payload": receipt["payload"] | place})


def opened() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


def receipt_of(event: Framed, principal: str, decision: str) -> Fields:
    found = receipt_of_event(event.event_id, event.event_type, principal=principal, decision=decision)
    found["payload"] |= {"subject_run_id": event.run_id}
    return found | {"tenant": event.tenant, "run_id": event.run_id}


def receipt_of_event(event_id: str, event_type: str, *, principal: str, decision: str = "ADMIT") -> Fields:
    whole = example("receipt")
    payload = whole["payload"] | {
        "decision": decision,
        "reason_codes": ["INVALID_FIELD"] if decision == "QUARANTINE" else [],
        "principal": principal,
        "subject_event_id": event_id,
        "subject_event_type": event_type,
        "subject_run_id": "standing",
    }
    return whole | {"tenant": "default", "run_id": "standing", "payload": payload}


def decision_about(event_id: str, *, tenant: str = "default", run_id: str = "standing") -> Fields:
    whole = example("decision")
    payload = whole["payload"] | {"subject_event_id": event_id, "outcome": "REVIEW"}
    made = {"event_id": decision_id(tenant, run_id, event_id), "tenant": tenant, "run_id": run_id}
    return whole | made | {"payload": payload}


def framed_decision(event_id: str) -> tuple[str, bytes]:
    fields = decision_about(event_id)
    return fields["event_id"], CONTRACTS["decision", 1].encode(fields)


class FakeFollower:
    """Decisions as a test lets them arrive."""

    def __init__(self, *, remembered: int, promises: Promises) -> None:
        self.promises = promises
        self.arrivals = Arrivals(remembered=remembered, keep=remembered, promises=promises)
        self.at_the_end = opened()

    async def ready(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.at_the_end.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def expect(self, tenant: str, run_id: str, event_id: str) -> asyncio.Future[Fields]:
        return self.arrivals.expect(decision_id(tenant, run_id, event_id))

    def promise(self, tenant: str, run_id: str, event_id: str) -> None:
        self.promises.make(decision_id(tenant, run_id, event_id))

    def flood(self) -> None:
        """Decisions about payments of others."""
        self.arrivals.arrived([framed_decision(f"other-{number}") for number in range(50)])

    def decide(self, event_id: str) -> None:
        self.arrivals.arrived([framed_decision(event_id)])


class FakeFabric:
    """`GET /v1/decisions/{event_id}` of the decision fabric, as its view writes a decision."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.asked: list[str] = []
        self.status = 200
        self.open = opened()
        """Closed: it hangs."""

    async def answer(self, request: httpx.Request) -> httpx.Response:
        event_id = request.url.path.rsplit("/", 1)[1]
        self.asked.append(event_id)
        await self.open.wait()
        assert request.url.params == httpx.QueryParams(tenant="default", run_id="standing")
        if self.status != 200:
            return httpx.Response(self.status)
        return httpx.Response(200, json=as_fabric(event_id)) if event_id in self.held else httpx.Response(404)


class FakeBus:
    """Decisions on ``traffic.decision`` by their offsets."""

    def __init__(self) -> None:
        self.records: dict[int, bytes] = {}

    def fetch(self, wanted: Sequence[Coordinate], seconds: float) -> list[tuple[Coordinate, bytes]]:
        assert seconds > 0
        return [(place, self.records[place.offset]) for place in wanted if place.offset in self.records]


def as_fabric(event_id: str) -> dict[str, Any]:
    fields = decision_about(event_id)
    said = fields["payload"]
    return {
        "decision_id": fields["event_id"],
        "event_id": event_id,
        "tenant": fields["tenant"],
        "customer_id": said["customer_id"],
        "decided_at": pydantic_time(said["decided_at"]),
        "bundle": {"id": said["bundle_id"], "revision": said["bundle_revision"], "hash": said["bundle_hash"]},
        **{
            name: said[name]
            for name in (
                "payment_id",
                "outcome",
                "mode",
                "reason_codes",
                "score_ppm",
                "policy_revision",
                "posture",
            )
        },
    }


def pydantic_time(micros: int) -> str:
    """As pydantic writes a datetime: no fraction where there is none."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return moment.isoformat().replace("+00:00", "Z")


class SilentTracing:
    """Keeps nothing."""

    sampler = EventSampler(0)

    def record(self, span: Span) -> None:
        """Forget it."""


class Edge:
    """The edge's app over the fakes, and a client of it."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        gate: FakeGate,
        follower: FakeFollower,
        fabric: FakeFabric,
        bus: FakeBus,
    ) -> None:
        self.client, self.gate, self.follower, self.fabric = client, gate, follower, fabric
        self.bus = bus

    def admit_decision(self, event_id: str) -> None:
        """The decision about a payment is a fact, and whoever held it in memory has forgotten it."""
        offset = len(self.bus.records)
        self.bus.records[offset] = framed_decision(event_id)[1]
        self.gate.admits_decision(event_id, offset)

    async def post(self, event: Any, *prefer: str, principal: str = "partner_acme") -> httpx.Response:
        headers = [*self.headers(principal).items(), *(("Prefer", line) for line in prefer)]
        if isinstance(event, bytes):
            headers.append(("Content-Type", "application/x-ndjson"))
            return await self.client.post("/v1/events", content=event, headers=headers)
        return await self.client.post("/v1/events", json=event, headers=headers)

    async def get(self, path: str, principal: str = "partner_acme") -> httpx.Response:
        return await self.client.get(path, headers=self.headers(principal))

    def headers(self, principal: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKENS[principal][0]}"}


@asynccontextmanager
async def running_edge(*, remembered: int = 100, policy: EdgePolicy | None = None) -> AsyncIterator[Edge]:
    policy = policy or EdgePolicy(revision="tests")
    gate, fabric, bus = FakeGate(), FakeFabric(), FakeBus()
    promises = Promises(most=policy.promised_decisions, seconds=policy.promised_seconds)
    follower = FakeFollower(remembered=remembered, promises=promises)
    gate_client = GateClient(
        lambda: "http://gate",
        token=None,
        timeout=policy.gate_timeout_seconds,
        transport=httpx.MockTransport(gate.answer),
    )
    client = DecisionClient(
        lambda: "http://fabric",
        token=None,
        timeout=policy.decision_timeout_seconds,
        transport=httpx.MockTransport(fabric.answer),
    )
    facts = DecisionFacts(gate_client, cast("RecordFetcher", bus), seconds=policy.decision_timeout_seconds)
    decisions = Decisions(cast("DecisionFollower", follower), client, facts)
    publisher = Publisher(
        policy,
        Limits(policy),
        cast("LaneWriter", gate),
        cast("ReceiptFollower", gate),
        gate=gate_client,
        decisions=decisions,
    )
    tokens = TokenBook.parse("".join(f"{line}\n" for _, line in TOKENS.values()), "edge_tokens")
    api = EdgeApi(
        policy,
        tokens,
        publisher,
        gate_client,
        decisions=decisions,
        tracing=cast("Any", SilentTracing()),
    )
    app = edge_app(api, Health("ingest_edge"), wiring())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge") as caller:
        yield Edge(caller, gate, follower, fabric, bus)
    await client.close()
    await gate_client.close()


def wiring() -> Wiring:
    return Wiring(
        kafka=KafkaWiring(bootstrap_servers="none:1"),
        artifacts=ArtifactWiring(root="none"),
        oracle=OracleWiring(root="none"),
        state_dir=Path("none"),
    )
