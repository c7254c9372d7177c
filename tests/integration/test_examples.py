"""The examples as a newcomer runs them, against a real deployment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice_cli.contracts_commands import contracts_app
from sluice_kit.config import load_wiring
from sluice_substrate import LocalStack
from tests.integration.fleets import apply_policy, running

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def deployment(stack: LocalStack, wiring_file: Path, topics_applied: None) -> Iterator[Path]:
    registry = load_wiring(wiring_file).registry.url
    assert registry is not None
    with running(stack, "ingestion_gate", "ingest_edge"):
        apply_policy(wiring_file)
        published = CliRunner().invoke(contracts_app, ["publish", "--registry", registry, "--json"])
        assert published.exit_code == 0, published.output
        yield wiring_file


def command(name: str, wiring_file: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), "--wiring", str(wiring_file), *arguments]


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("SLUICE_", "KAFKA_"))}


def run(name: str, wiring_file: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        command(name, wiring_file, *arguments),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=environment(),
    )
    return done.returncode, done.stdout + done.stderr


def test_a_publisher_sees_its_receipt_and_a_repeat_sees_the_first_place(
    deployment: Path, unique: Callable[[str], str]
) -> None:
    same = ("--event-id", unique("acme"), "--ts-utc", str(time.time_ns() // 1_000))
    code, first = run("publish_payment.py", deployment, *same)
    assert code == 0, first
    decision, place = first.splitlines()[-1].split()
    assert decision == "ADMIT"
    code, again = run("publish_payment.py", deployment, *same)
    assert (code, again.splitlines()[-1]) == (0, f"DUPLICATE {place}")
    code, altered = run("publish_payment.py", deployment, *same, "--amount", "1")
    assert code == 1
    assert "PAYLOAD_HASH_MISMATCH" in altered


def test_over_http_a_retry_shows_the_first_receipt(deployment: Path) -> None:
    code, output = run("publish_http.py", deployment)
    assert code == 0, output
    first, again = (line.split(" ", 2) for line in output.splitlines())
    assert (first[0], again[0]) == ("ADMITTED", "REPEATED")
    assert first[1] == again[1]
    assert json.loads(first[2]) == json.loads(again[2])


def test_a_stock_deserializer_reads_what_was_admitted(deployment: Path, unique: Callable[[str], str]) -> None:
    code, sent = run("publish_payment.py", deployment, "--amount", "4321")
    assert code == 0, sent
    place = sent.splitlines()[-1].split()[1].removeprefix("traffic.payment[").replace("]@", "@")
    group = unique("example_consumer-test")
    consume = command("consume_payments.py", deployment, "--group", group, "--seconds", "60")
    with subprocess.Popen(consume, stdout=subprocess.PIPE, text=True, env=environment()) as consumer:
        assert consumer.stdout is not None
        line = next(
            (line for line in consumer.stdout if line.startswith(f"{place} ")), "nothing of it was seen"
        )
        consumer.send_signal(signal.SIGINT)
        consumer.communicate(timeout=60)  # what it still prints has to find a reader
    assert line.rstrip().endswith("C-1042  43.21 EUR")
    assert consumer.returncode == 0


def test_the_examples_are_short_and_import_nothing_of_the_platform() -> None:
    for program in ("publish_payment.py", "publish_http.py", "consume_payments.py"):
        text = (EXAMPLES / program).read_text(encoding="utf-8")
        assert text.count("\n") < 80, program
        assert not any(word in text for word in ("sluice_kit", "sluice_fleet", "from services")), program
    assert "sluice_contracts" not in (EXAMPLES / "consume_payments.py").read_text(encoding="utf-8")
