"""One event's provenance: each link of its chain with where it comes from, the missing ones shown as such."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.console.bus_reader import BusReader
from services.console.core import Chain, Fields
from services.console.neighbours import Answer, Neighbours, quoted
from sluice_contracts import Decoded, decode
from sluice_kit.kafka.record_fetcher import FetchTimeoutError

NOT_SEEN: Final = "no record names it, and this console has not seen it on the bus since somebody looked"


class Inspector:
    """Asks whoever knows; what they do not answer is a link that is missing, never an error."""

    def __init__(self, neighbours: Neighbours, bus: BusReader) -> None:
        self._neighbours, self._bus = neighbours, bus

    async def chain(self, event_id: str) -> dict[str, Any]:
        """The links in order: receipt, event, snapshot, decision, intents, outcomes, record. JSON-ready."""
        ask, part = self._neighbours.get, quoted(event_id)
        receipt = await ask("ingestion_gate", f"/v1/receipts/{part}")
        snapshot, decision, record = await asyncio.gather(
            ask("online_features", "/v1/features", {"event_id": event_id, **_run_of(receipt)}),
            ask("decision_fabric", f"/v1/decisions/{part}"),
            ask("decision_log", f"/v1/audit/{part}"),
        )
        seen, named = self._bus.chain(event_id) or Chain(), _references(record)
        source = "decision_fabric"
        if decision.state != "found":
            kept = [] if seen.decision is None else [seen.decision]
            elsewhere = await self._parts(kept, named["decision"])
            if elsewhere.state == "found":
                source, decision = "traffic.decision", Answer("found", elsewhere.detail, elsewhere.content[0])
        intents = await self._parts(seen.intents, named["intents"])
        outcomes = await self._parts(seen.outcomes, named["outcomes"])
        return {
            "event_id": event_id,
            "links": [
                _link("receipt", "ingestion_gate", receipt),
                _link("event", "traffic", await self._event(receipt)),
                _link("snapshot", "online_features", snapshot),
                _link("decision", source, decision),
                _link("intents", "traffic.action_intent", intents),
                _link("outcomes", "traffic.action_outcome", outcomes),
                _link("record", "decision_log", record),
            ],
        }

    async def _event(self, receipt: Answer) -> Answer:
        """The event itself, from the coordinates that its receipt names."""
        if receipt.state != "found":
            return Answer("none", "without a receipt nobody knows where it stands")
        found = next((one for one in receipt.content["receipts"] if one.get("event_bus")), None)
        if found is None:
            return Answer("none", "it was not admitted")
        return await self._standing(found["event_bus"])

    async def _parts(self, seen: Sequence[Fields], references: Sequence[Mapping[str, Any]]) -> Answer:
        """Decoded events: those seen on the bus, and what a record names besides, read where it stands."""
        parts, unread = {event["event_id"]: dict(event) for event in seen}, list[Answer]()
        told = ["seen on the bus"] if parts else []
        for reference in references:
            if reference["id"] in parts:
                continue
            answer = await self._standing(reference)
            if answer.state == "found":
                parts[reference["id"]] = answer.content
                told.append(answer.detail)
            else:
                unread.append(answer)
        if not parts:
            return unread[0] if unread else Answer("none", NOT_SEEN)
        return Answer("found", "; ".join([*told, *(answer.detail for answer in unread)]), [*parts.values()])

    async def _standing(self, at: Mapping[str, Any]) -> Answer:
        """The event that stands at a topic, partition and offset."""
        topic, partition, offset = at["topic"], at["partition"], at["offset"]
        try:
            value = await asyncio.to_thread(self._bus.record, topic, partition, offset)
        except FetchTimeoutError as error:
            return Answer("away", str(error))
        except LookupError as error:
            return Answer("refused", str(error))
        content = None if value is None else decode(value)
        if not isinstance(content, Decoded):
            return Answer("none", f"no event can be read at {topic}[{partition}]@{offset}")
        return Answer("found", f"{topic}[{partition}]@{offset}", content.fields)


def _run_of(receipt: Answer) -> dict[str, str]:
    """Tenant and run of an admitted event: with both, a look-up of its snapshot ends where that is found."""
    receipts = receipt.content["receipts"] if receipt.state == "found" else []
    admitted = next((one for one in receipts if one.get("event_bus") and one.get("run_id")), None)
    return {} if admitted is None else {"tenant": admitted["tenant"], "run_id": admitted["run_id"]}


def _references(answer: Answer) -> dict[str, list[Mapping[str, Any]]]:
    """What the newest record names of the links that memories forget: {id, topic, partition, offset} each."""
    if answer.state != "found":
        return {"decision": [], "intents": [], "outcomes": []}
    record = answer.content["records"][0]["record"]
    decision = record["decision"]
    return {
        "decision": [] if decision is None else [decision],
        "intents": record["intents"],
        "outcomes": record["outcomes"],
    }


def _link(name: str, source: str, answer: Answer) -> dict[str, Any]:
    return {
        "link": name,
        "source": source,
        "state": answer.state,
        "detail": answer.detail,
        "content": answer.content if answer.state == "found" else None,
    }
