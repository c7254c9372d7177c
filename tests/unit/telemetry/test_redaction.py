import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sluice_kit.telemetry import (
    bind_context,
    clear_context,
    configure_logging,
    forget_secrets,
    get_logger,
    redact,
    redact_text,
    register_secret,
)

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    forget_secrets()
    clear_context()
    yield
    forget_secrets()
    clear_context()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "sasl_plain_password",
        "SASL.PASSWORD",
        "api_key",
        "apiKey",
        "Authorization",
        "refreshToken",
        "private-key",
    ],
)
def test_a_value_under_a_secret_key_is_masked(key: str) -> None:
    assert SECRET not in json.dumps(redact({"outer": [{key: SECRET}]}))


@pytest.mark.parametrize(
    "key", ["secret_name", "partition_key", "tokens_seen", "equivalence_key", "idempotency_key"]
)
def test_fields_that_only_look_like_it_are_kept(key: str) -> None:
    assert redact({key: "kafka_gate"}) == {key: "kafka_gate"}


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://sluice:{SECRET}@127.0.0.1:5432/sluice",
        f"login failed: password={SECRET}, retrying",
        f'required username="gate" password="{SECRET}";',
        f"Authorization: Bearer {SECRET}",
        f"{{'sasl.password': '{SECRET}'}}",
    ],
)
def test_text_shaped_like_a_credential_is_masked(text: str) -> None:
    assert SECRET not in redact_text(text)


def test_a_registered_value_is_masked_wherever_it_turns_up() -> None:
    register_secret(SECRET)
    assert redact({"note": f"it is {SECRET}!", "raw": SECRET.encode(), "n": 3}) == {
        "note": "it is [redacted]!",
        "raw": "[redacted]",
        "n": 3,
    }


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_log_lines_are_json_with_the_known_fields_and_no_secret() -> None:
    stream = io.StringIO()
    configure_logging("ingestion_gate", shard="0", stream=stream)
    bind_context(tenant="default", run_id="run-1", trace_id=None)
    get_logger("store").info("connected", dsn=f"postgresql://u:{SECRET}@h/db", password=SECRET, rows=3)
    (line,) = _lines(stream)
    assert {
        "service": "ingestion_gate",
        "shard": "0",
        "tenant": "default",
        "run_id": "run-1",
    }.items() <= line.items()
    assert {"level": "info", "event": "connected", "component": "store", "rows": 3}.items() <= line.items()
    assert "trace_id" not in line
    assert SECRET not in stream.getvalue()


def test_library_logs_and_tracebacks_take_the_same_road() -> None:
    stream = io.StringIO()
    register_secret(SECRET)
    configure_logging("wsp", stream=stream)
    logging.getLogger("aiokafka.conn").warning("could not connect with %s", SECRET)
    try:
        {}[f"bad secret {SECRET}"]
    except KeyError:
        get_logger("loop").exception("failed")
    first, second = _lines(stream)
    assert first["component"] == "aiokafka.conn"
    assert first["service"] == "wsp"
    assert "KeyError" in str(second["exception"])
    assert SECRET not in stream.getvalue()


def test_before_logging_is_configured_nothing_reaches_stdout() -> None:
    program = (
        "from sluice_kit.telemetry import get_logger; get_logger('x').warning('hello', password='pw-123456')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "hello" in done.stderr
    assert "pw-123456" not in done.stderr
