"""The loop counted from its topics, the segments of its log and the effect log; none of its code is asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from sluice_kit.artifacts import ArtifactStore
from sluice_kit.config import Wiring
from tests.faults.reading import events

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoopCount:
    """Everything that stands about payments. `records` are the last of each payment."""

    admitted: Counter[str]
    payments: Counter[str]
    decisions: list[Fields]
    intents: list[Fields]
    outcomes: list[Fields]
    records: dict[str, Fields]
    logged: Counter[str]

    @property
    def at_rest(self) -> bool:
        """Every intent has a final outcome and every payment a record that has nothing to wait for."""
        final = {one["payload"]["idempotency_key"] for one in self.finals}
        asked = {one["payload"]["idempotency_key"] for one in self.intents}
        recorded = self.records.keys() - self._unlinked()
        return final >= asked and recorded >= self.payments.keys()

    @property
    def finals(self) -> list[Fields]:
        """Outcomes that settle."""
        return [one for one in self.outcomes if one["payload"]["outcome"] != "UNCERTAIN"]

    def decided(self, event_ids: Iterable[str]) -> list[Fields]:
        """Payloads of the decisions about some payments."""
        wanted = set(event_ids)
        return [d["payload"] for d in self.decisions if d["payload"]["subject_event_id"] in wanted]

    def settled(self, event_ids: Iterable[str]) -> list[Fields]:
        """Payloads of all outcomes about some payments, in the order of the bus."""
        wanted = set(event_ids)
        return [o["payload"] for o in self.outcomes if o["payload"]["subject_event_id"] in wanted]

    def assert_whole(self, sent: set[str], effects: list[str]) -> None:
        """All that was sent is there, doubts are settled, no call is had twice; the checker says the rest.

        A call that came to no good end may have been had, so the checker is not given the receiver's effects.
        """
        assert set(self.payments) == set(self.admitted) == sent
        doubts = {one["event_id"] for one in self.outcomes if one["payload"]["outcome"] == "UNCERTAIN"}
        assert doubts <= {one["payload"]["supersedes"] for one in self.outcomes}
        had = Counter(effects)
        assert [key for key, count in had.items() if count != 1] == [], "an effect was had twice"
        said = [one["payload"] for one in self.finals if one["payload"]["effector"] == "webhook"]
        executed = {one["idempotency_key"] for one in said if one["outcome"] == "EXECUTED"}
        assert executed <= set(had) <= {one["payload"]["idempotency_key"] for one in self.intents}

    def _unlinked(self) -> set[str]:
        """Payments whose record lacks something; a decision that used no snapshot has none to link."""
        without = {
            one["payload"]["subject_event_id"]
            for one in self.decisions
            if one["payload"]["snapshot_hash"] is None
        }
        return {
            event_id
            for event_id, record in self.records.items()
            if set(record["chain"]["missing"]) - ({"snapshot"} if event_id in without else set())
        }


def count_loop(wiring: Wiring, store: ArtifactStore) -> LoopCount:
    """Read it all."""
    receipts = [one["payload"] for one in events(wiring, "audit.receipt")]
    return LoopCount(
        Counter(
            one["subject_event_id"]
            for one in receipts
            if one["decision"] == "ADMIT" and one["subject_event_type"] == "payment"
        ),
        Counter(one["event_id"] for one in events(wiring, "traffic.payment")),
        list(events(wiring, "traffic.decision")),
        list(events(wiring, "traffic.action_intent")),
        list(events(wiring, "traffic.action_outcome")),
        dict(_records(wiring, store)),
        Counter(_logged(wiring)),
    )


def all_settled(wiring: Wiring) -> bool:
    """Whether every intent that there is has a final outcome."""
    keys = {one["payload"]["idempotency_key"] for one in events(wiring, "traffic.action_intent")}
    said = (one["payload"] for one in events(wiring, "traffic.action_outcome"))
    return keys <= {one["idempotency_key"] for one in said if one["outcome"] != "UNCERTAIN"}


def _records(wiring: Wiring, store: ArtifactStore) -> Iterable[tuple[str, Fields]]:
    """By event id, in the order of the log."""
    sealed = [
        one["payload"]
        for one in events(wiring, "audit.decision_record")
        if one["event_type"] == "decision_segment"
    ]
    seen: set[int] = set()
    for one in sorted(sealed, key=lambda item: item["first_leaf"]):
        if one["first_leaf"] in seen:
            continue
        seen.add(one["first_leaf"])
        path = store.local_path(one["segment"]["uri"].removeprefix("artifact://"))
        for row in pq.read_table(path).to_pylist():
            record = {name: _parsed(value) for name, value in row.items() if isinstance(value, str)}
            yield record["identity"]["event_id"], record


def _parsed(text: str) -> Any:
    return json.loads(text)


def _logged(wiring: Wiring) -> Iterable[str]:
    """Keys in the effect log."""
    for path in sorted((wiring.state_dir / "action_layer").rglob("*.ndjson")):
        for line in path.read_bytes().splitlines():
            yield json.loads(line)["idempotency_key"]
