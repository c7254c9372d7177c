"""The console as a process on a real broker, beside a real gate: its answers, its page in a browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from sluice_contracts import Decoded, decode, derived_id, encode
from sluice_fleet import Fleet
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.integration.builders import posted_payment
from tests.integration.fleets import apply_policy, running
from tests.integration.headless_chromium import BINARY, Chromium

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
EXAMPLES = Path(__file__).parents[2] / "contracts/examples"


@pytest.fixture(scope="module")
def fleet(stack: LocalStack, wiring_file: Path, topics_applied: None) -> Iterator[Fleet]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLUICE_EDGE_WAIT_SECONDS", "20")
        with running(stack, "ingestion_gate", "ingest_edge", "console") as started:
            apply_policy(wiring_file)
            yield started


@pytest.fixture(scope="module")
def decided(fleet: Fleet, wiring: Wiring) -> str:
    """A payment that came over HTTP, and a decision about it on the bus; its event id."""
    token = wiring.secret_source.get("token_partner_acme")
    event = posted_payment()
    answer = httpx.post(
        f"{fleet.url('ingest_edge')}/v1/events",
        json=event,
        headers={
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": event["event_id"],
        },
        timeout=60,
    )
    assert answer.status_code in {200, 201}, answer.text
    publish_decision(wiring, event)
    return str(event["event_id"])


def publish_decision(wiring: Wiring, event: dict[str, Any]) -> None:
    """As the gate would have admitted it; put there by the super user, since no fabric runs here."""
    example = decode((EXAMPLES / "decision.v1/full.bin").read_bytes())
    assert isinstance(example, Decoded)
    subject = event["event_id"]
    told = {
        "subject_event_id": subject,
        "outcome": "DECLINE",
        "customer_id": "c-<i>1</i>",
        "amount_minor": 1999,
    }
    payload = example.fields["payload"] | told
    event_id = derived_id("sluice.decision.v1", "default", "standing", subject)
    producer = Producer(client_config(wiring, "admin"))
    fields = example.fields | {"event_id": event_id, "payload": payload}
    producer.produce("traffic.decision", encode("decision", 1, fields), key=b"c-1")
    assert producer.flush(30) == 0


def test_a_payment_can_be_followed_to_its_decision(fleet: Fleet, decided: str) -> None:
    with httpx.Client(base_url=fleet.url("console"), timeout=30) as http:

        def seen() -> bool:
            latest = http.get("/v1/flow").json()["decisions"]["latest"]
            return decided in {line["event_id"] for line in latest}

        until(seen, "the decision to be seen")
        flow = http.get("/v1/flow").json()
        services = {one["service"]: one["state"] for one in flow["services"]}
        assert (services["ingestion_gate"], services["decision_fabric"]) == ("ok", "absent")
        assert flow["broker"]["state"] == "ok"
        assert flow["totals"]["traffic.payment"] > 0
        assert {one["topic"] for one in flow["topics"]} >= {"traffic.payment", "audit.receipt"}
        links = {link["link"]: link for link in http.get(f"/v1/events/{decided}").json()["links"]}
        assert links["receipt"]["content"]["receipts"][0]["decision"] == "ADMIT"
        assert links["event"]["content"]["event_id"] == decided
        assert links["decision"]["content"]["payload"]["outcome"] == "DECLINE"
        assert (links["snapshot"]["state"], links["record"]["state"]) == ("absent", "absent")
        assert "items" in http.get("/v1/quarantine").json()


@pytest.mark.skipif(BINARY is None, reason="no Chromium on this machine: apt-get install chromium")
def test_the_page_works_in_a_browser_wide_and_narrow(fleet: Fleet, decided: str, tmp_path: Path) -> None:
    url = fleet.url("console")
    with Chromium(tmp_path / "profile") as browser:

        def shown(text: str) -> None:
            script = f"(document.querySelector('main')?.innerText ?? '').includes({text!r})"
            until(lambda: browser.run(script), f"the page to show {text}")

        for width in (1280, 400):
            browser.resize(width)
            for view, text in (
                ("flow", "c-<i>1</i>"),  # what an event says stays text
                (f"event/{decided}", "decision_log does not run here"),
                ("quarantine", "newest first"),
            ):
                browser.open(f"{url}/#{view}")
                shown(text)
                assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (width, view)
        browser.open(f"{url}/#flow")
        shown("DECLINE")
        browser.run("document.querySelector('#latest tr.open').click()")
        until(lambda: browser.run("location.hash.startsWith('#event/')"), "the inspector")
        shown("not running here")
        assert browser.complaints == []
