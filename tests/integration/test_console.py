"""The console beside a whole running stack: its answers, and what somebody sees in a browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from services.console.settings import NEIGHBOURS
from sluice_cli.main import app
from sluice_fleet import Fleet, Topology
from sluice_fleet.topology import services
from sluice_kit.testing.waiting import until
from tests.integration.builders import posted_payment
from tests.integration.console_page import Page
from tests.integration.console_past import ABSENT, MARKUP, ORPHAN, REFUSED, TOPOLOGY, Past, stack_with_a_past
from tests.integration.fleets import client
from tests.integration.headless_chromium import BINARY, Chromium

pytestmark = pytest.mark.integration
browsed = pytest.mark.skipif(BINARY is None, reason="no Chromium on this machine: apt-get install chromium")
LINKS = ["receipt", "event", "snapshot", "decision", "intents", "outcomes", "record"]
PAGE_OF_QUARANTINE = 50
UNRESOLVED = ("REVIEW", "DECLINE")
"""What is decided without a bundle: review, or no where a busy machine makes the posture FAIL_CLOSED."""


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with stack_with_a_past(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def page(past: Past, browser: Chromium) -> Iterator[Page]:
    yield Page(browser, past.fleet.url("console"))
    assert browser.complaints == []


@pytest.mark.parametrize("command", ["up", "status"])
def test_the_command_line_says_where_the_console_is(past: Past, command: str, tmp_path: Path) -> None:
    topology = tmp_path / "topology.yaml"
    topology.write_text(yaml.safe_dump(TOPOLOGY.model_dump(mode="json")), "utf-8")
    options = ["--topology", str(topology)] if command == "up" else []
    said = CliRunner().invoke(app, [command, "--home", str(past.deployment.home), *options])
    assert said.exit_code == 0, said.output
    assert f"Look at it: {past.fleet.url('console')}\n" in said.output


def test_a_payment_can_be_followed_to_its_record(past: Past) -> None:
    with httpx.Client(base_url=past.fleet.url("console"), timeout=30) as http:

        def seen() -> bool:
            return http.get("/v1/flow").json()["decisions"]["seen"] > 0

        until(seen, "decisions to be seen")
        flow = http.get("/v1/flow").json()
        states = {one["service"]: one["state"] for one in flow["services"]}
        assert (states.keys(), states["ingestion_gate"]) == (set(NEIGHBOURS), "ok")
        assert {service for service, state in states.items() if state == "absent"} == set(ABSENT)
        assert flow["broker"]["state"] == "ok"
        assert flow["totals"]["traffic.payment"] > 0
        assert {one["topic"] for one in flow["topics"]} >= {"traffic.payment", "audit.receipt"}
        links = {link["link"]: link for link in http.get(f"/v1/events/{past.new}").json()["links"]}
        assert {link["state"] for link in links.values()} == {"found"}
        assert links["receipt"]["content"]["receipts"][0]["decision"] == "ADMIT"
        assert links["event"]["content"]["event_id"] == past.new
        assert links["decision"]["content"]["outcome"] in UNRESOLVED


@browsed
def test_the_flow_shows_what_happens_now(past: Past, page: Page) -> None:
    page.open("flow")
    page.shows("#link", "^live$")

    def flowing() -> bool:
        past.post(posted_payment())
        past.refuse(1)
        tiles = "\n".join(page.texts(".tile"))
        return all(
            re.search(rf"{name}\n(?!0/s)[\d.,]+/s\n[\d,]+ in all", tiles)
            for name in ("Payments admitted", "Decisions", "Quarantined")
        )

    until(flowing, "rates above zero")
    page.shows("#topics tr", r"^traffic\.payment\t(?!0\t)[\d.,]+\t\s*\t[\d,]+$")
    assert re.search(r"L.*[1-9]", page.browser.run("document.querySelector('#topics .spark path').outerHTML"))
    with client(past.fleet, past.wiring, "degrade_ladder", "operator") as http:
        rung = http.get("/v1/posture").json()["scopes"][0]["posture"]
    page.shows(".tile", rf"^Posture\n{rung.replace('_', ' ')}\n")
    page.shows(".tile", r"^Records that wait\n[\d,]+\nover all readers")
    page.shows("#lag tr", r"^action layer\ttraffic\.action_intent\t[\d,]+$")
    assert len(page.texts("#services li")) == len(NEIGHBOURS)
    page.shows("#services li", r"^action layer\neffectors: ")  # degraded: no webhook is wired here
    page.shows("#services li", r"^ingestion gate\nok$")
    page.shows("#services li", r"^scenario runner\nnot running here$")


@browsed
def test_decisions_show_outcome_amount_score_reasons_and_customer(past: Past, page: Page) -> None:
    page.open("flow")
    page.shows("#latest tr", rf"^({'|'.join(UNRESOLVED)})\t19\.99 EUR\t–\t[A-Z_, ]+\tc-1$")
    past.decline("just-now")
    page.shows("#latest tr", rf"^DECLINE\t1,234\.56 EUR\t0\.000\tRULE_TOO_FAST\t{MARKUP}$")
    page.shows("#mix-seen", r"^[\d,]+ seen in the last minute$")
    page.shows("#mix-legend li", r"^STEP UP 0 0\.0%$")
    page.shows("#mix-legend li", r"^DECLINE [1-9][\d,]* [\d.]+%$")
    page.shows("#mix-legend li", r"^(FALLBACK|FAIL CLOSED) [1-9][\d,]*$")
    widths = page.browser.run("[...document.querySelectorAll('#mix i')].map((part) => part.offsetWidth)")
    assert sum(widths) > 100
    page.click("#latest tr.open")
    page.shows("#event-id", "^just-now$")
    assert "seen on the bus" in page.links()["decision"]


@browsed
def test_a_payment_older_than_what_was_seen_has_its_whole_chain(past: Past, page: Page) -> None:
    page.open("event")
    page.enter("#find-id", past.old)
    page.shows("#event-id", f"^{past.old}$")
    shown = page.links()
    assert list(shown) == LINKS
    assert len(page.texts("#chain > li.found")) == len(LINKS)
    facts = {link: dict(re.findall(r"^([a-z ]+)\n(.+)$", text, re.MULTILINE)) for link, text in shown.items()}
    assert facts["receipt"]["decision"] == "ADMIT"
    assert facts["receipt"]["stands"].startswith("traffic.payment[")
    assert facts["event"]["amount"] == "19.99 EUR"
    assert re.fullmatch("[0-9a-f]{64}", facts["snapshot"]["snapshot hash"])
    assert (facts["decision"]["outcome"], facts["decision"]["mode"]) == ("REVIEW", "FALLBACK")
    assert "BUNDLE_UNRESOLVED" in facts["decision"]["reasons"]
    assert re.search(r"traffic\.action_intent\[\d\]@\d+", shown["intents"])
    assert "webhook" in shown["intents"]
    assert re.search(r"traffic\.action_outcome\[\d\]@\d+", shown["outcomes"])
    assert re.search(r"DENIED.*EFFECTOR_NOT_WIRED", shown["outcomes"], re.DOTALL)
    assert facts["record"]["current"] == "true"
    # what is decided without a bundle uses no snapshot, and the record says so
    assert (facts["record"]["chain"], facts["record"]["missing"]) == ("INCOMPLETE", "snapshot")


@browsed
def test_the_quarantine_shows_why_a_record_was_refused_and_the_original(past: Past, page: Page) -> None:
    page.open("quarantine")
    page.shows("#quarantine tr.open", r"\tWRONG_MAGIC\t\w+\tpartner_acme\tingress\.partner_acme\[\d\]@\d+\t")
    assert len(page.texts("#quarantine tr.open")) == PAGE_OF_QUARANTINE
    page.click("#quarantine tr.open")
    original = json.loads(page.shows("#quarantine pre", r"^\{.*\}$")[0])
    assert original["lane"]["topic"] == "ingress.partner_acme"
    page.click("#older")
    until(lambda: len(page.texts("#quarantine tr.open")) >= REFUSED, "the older ones")


@browsed
def test_it_fits_and_follows_the_scheme_of_the_system(past: Past, page: Page) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page.browser.prefer(scheme)
        page.open("flow")
        page.shows("#latest tr", "EUR")
        shades[scheme] = {page.style(one, "backgroundColor") for one in ("body", ".card", ".tile")}
        shades[scheme] |= {page.style("body", "color")}
    assert not shades["light"] & shades["dark"]
    page.browser.prefer("light")
    for width in (1280, 400):
        page.browser.resize(width)
        for view, selector in (
            ("flow", "#latest tr"),
            (f"event/{past.new}", "#chain li"),
            ("quarantine", "#quarantine tr"),
        ):
            page.open(view)
            page.shows(selector, ".")
            assert page.browser.run("document.documentElement.scrollWidth <= innerWidth"), (width, view)
    page.browser.resize(1280)


@browsed
def test_a_chain_that_is_not_whole_says_what_is_missing(past: Past, page: Page) -> None:
    """Last: the log waits half a minute for the other links before it records this one."""
    with client(past.fleet, past.wiring, "decision_log", "console") as http:
        until(lambda: http.get(f"/v1/audit/{ORPHAN}").is_success, "the record of the orphan")
    page.open(f"event/{ORPHAN}")
    shown = page.links()
    assert "not there" in shown["receipt"]
    assert "DECLINE" in shown["decision"]
    assert "RULE_TOO_FAST" in shown["decision"]
    assert "INCOMPLETE" in shown["record"]
    assert re.search(r"missing\n(?=.*receipt)(?=.*intents)(?=.*outcomes)", shown["record"])


@browsed
def test_beyond_its_machine_somebody_signs_in(past: Past, browser: Chromium, tmp_path: Path) -> None:
    wired = yaml.safe_load(past.deployment.wiring_file.read_text("utf-8"))
    wired |= {"http": {"host": "0.0.0.0", "port": 0}, "state_dir": str(tmp_path / "state")}
    (tmp_path / "wiring.yaml").write_text(yaml.safe_dump(wired), "utf-8")
    beyond = Fleet(tmp_path, Topology(name="beyond", members=services("console")))
    beyond.start()
    try:
        page = Page(browser, beyond.url("console").replace("0.0.0.0", "127.0.0.1"))
        page.open("flow")
        page.shows("#sign-in", "Sign in")
        page.enter("#token", "guessed")
        page.shows("#sign-in-problem", "not known")
        page.enter("#token", past.wiring.secret_source.get("token_operator"))
        page.shows("#link", "^live$")
        page.shows("#latest tr", "EUR")
        assert page.texts("#sign-in") == []
        assert page.browser.run("document.cookie") == ""
    finally:
        killed = beyond.stop()
    assert killed == []
