"""One event's provenance: each link of its chain with where it comes from, the missing ones shown as such."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from confluent_kafka import KafkaException

from services.console.bus_reader import BusReader
from services.console.neighbours import Answer, Neighbours, quoted
from sluice_contracts import Decoded, decode

NOT_SEEN: Final = "not among what this console saw on the bus since somebody looked"


class Inspector:
    """Asks whoever knows; what they do not answer is a link that is missing, never an error."""

    def __init__(self, neighbours: Neighbours, bus: BusReader) -> None:
        self._neighbours, self._bus = neighbours, bus

    async def chain(self, event_id: str) -> dict[str, Any]:
        """The links in order: receipt, event, snapshot, decision, intents, outcomes, record. JSON-ready."""
        ask, part = self._neighbours.get, quoted(event_id)
        receipt, snapshot, decision, record = await asyncio.gather(
            ask("ingestion_gate", f"/v1/receipts/{part}"),
            ask("online_features", "/v1/features", {"event_id": event_id}),
            ask("decision_fabric", f"/v1/decisions/{part}"),
            ask("decision_log", f"/v1/audit/{part}"),
        )
        seen = self._bus.chain(event_id)
        source = "decision_fabric"
        if decision.state != "found" and seen is not None and seen.decision is not None:
            source, decision = "traffic.decision", Answer("found", "seen on the bus", dict(seen.decision))
        return {
            "event_id": event_id,
            "links": [
                _link("receipt", "ingestion_gate", receipt),
                _link("event", "traffic", await self._event(receipt)),
                _link("snapshot", "online_features", snapshot),
                _link("decision", source, decision),
                _link("intents", "traffic.action_intent", _listed(seen.intents if seen else [])),
                _link("outcomes", "traffic.action_outcome", _listed(seen.outcomes if seen else [])),
                _link("record", "decision_log", record),
            ],
        }

    async def _event(self, receipt: Answer) -> Answer:
        """The event itself, from the coordinates that its receipt names."""
        if receipt.state != "found":
            return Answer("none", "without a receipt nobody knows where it stands")
        found = next((one for one in receipt.content["receipts"] if _place(one) is not None), None)
        if found is None:
            return Answer("none", "it was not admitted")
        place = _place(found)
        assert place is not None
        try:
            value = await asyncio.to_thread(self._bus.record, *place)
        except KafkaException as error:
            return Answer("away", str(error))
        except LookupError as error:
            return Answer("refused", str(error))
        content = None if value is None else decode(value)
        if not isinstance(content, Decoded):
            return Answer("none", f"no event can be read at {place[0]}[{place[1]}]@{place[2]}")
        return Answer("found", f"{place[0]}[{place[1]}]@{place[2]}", content.fields)


def _place(receipt: dict[str, Any]) -> tuple[str, int, int] | None:
    """Where the fact of a receipt stands: topic, partition, offset."""
    fact = receipt.get("event_bus")
    return None if fact is None else (fact["topic"], fact["partition"], fact["offset"])


def _listed(events: list[Any]) -> Answer:
    if not events:
        return Answer("none", NOT_SEEN)
    return Answer("found", "seen on the bus", [dict(event) for event in events])


def _link(name: str, source: str, answer: Answer) -> dict[str, Any]:
    return {
        "link": name,
        "source": source,
        "state": answer.state,
        "detail": answer.detail,
        "content": answer.content if answer.state == "found" else None,
    }
