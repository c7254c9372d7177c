"""What `sluice bench features --json` makes of what it measured."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from services.entity_graph.settings import load_policy as load_graph_policy
from services.online_features.policy import load_feature_set
from sluice_bench.dictionary_server import dictionary_app
from sluice_bench.feature_traffic import (
    CONTEXTS,
    FRAUD_EVERY,
    LABELS,
    PAYMENTS,
    PER_DAY,
    WEEK,
    feature_records,
    moment_of,
)
from sluice_bench.features_bench import FEATURE_PARTS, features_effort, features_report
from sluice_bench.foreign_job import agree, plain_times
from sluice_bench.parts import in_words
from sluice_bench.read_bench import reading
from sluice_bench.reading_load import Reads, read_steadily
from sluice_bench.restart_bench import restarted
from sluice_bench.state_bench import feature_sizes, graph_sizes, growth_of
from sluice_bench.streams_bench import connection, properties
from sluice_cli.bench_commands import bench_app, features_row
from sluice_contracts import Decoded, decode
from sluice_kit.config.wiring import POLICY_DIR

NAMES = ["amount", "customer_count_1d", "customer_mean_amount_1d", "terminal_count_1d"]


def test_traffic_is_sound_and_a_payment_has_its_context_behind_it() -> None:
    first = 7 * PER_DAY
    made = list(feature_records("bench-x", first, 2 * FRAUD_EVERY))
    for record in made:
        found = decode(record.value)
        assert isinstance(found, Decoded)
        assert found.contract.check(found.fields) == ()
    assert Counter(record.topic for record in made) == {
        PAYMENTS: 2 * FRAUD_EVERY,
        CONTEXTS: 2 * FRAUD_EVERY,
        LABELS: 2,
    }
    assert [record.topic for record in made[:3]] == [LABELS, PAYMENTS, CONTEXTS]


def test_traffic_goes_on_where_it_stopped() -> None:
    whole = list(feature_records("bench-x", 0, 20))
    assert [*feature_records("bench-x", 0, 12), *feature_records("bench-x", 12, 8)] == whole


def test_a_label_is_learnt_a_week_after_its_payment() -> None:
    label = next(record for record in feature_records("bench-x", 7 * PER_DAY, 1) if record.topic == LABELS)
    found = decode(label.value)
    assert isinstance(found, Decoded)
    payload = found.fields["payload"]
    assert payload["observed_time"] - payload["effective_time"] == WEEK
    assert payload["effective_time"] == moment_of(0)


def test_windows_agree_when_counts_are_equal_and_means_close() -> None:
    row = {
        "event_id": "e",
        "customer_count_1d": 3,
        "customer_mean_amount_1d": 1000 / 3,
        "terminal_count_1d": 9,
    }
    assert agree(NAMES, [7, 3, 333_333_333, 8], row), "the terminal's are not asked for"
    assert not agree(NAMES, [7, 2, 333_333_333, 9], row)
    assert not agree(NAMES, [7, 3, 333_333_340, 9], row)


def test_times_become_plain_numbers_whatever_they_stand_in() -> None:
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    schema = {"type": "record", "fields": [{"name": "at", "type": ["null", moment], "sluice": {}}]}
    assert plain_times(schema) == {
        "type": "record",
        "fields": [{"name": "at", "type": ["null", {"type": "long"}]}],
    }


def test_a_java_client_is_told_what_ours_are() -> None:
    config = {
        "bootstrap.servers": "b:1",
        "security.protocol": "SASL_PLAINTEXT",
        "client.id": "c",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "p",
    }
    found = connection(config)
    assert found["sasl.jaas.config"].endswith('required username="u" password="p";')
    assert "client.id" not in found
    assert properties({"a": "b", "c": "d\\e"}) == b"a=b\nc=d\\\\e"
    assert connection({"bootstrap.servers": "b:1", "security.protocol": "PLAINTEXT"}) == {
        "bootstrap.servers": "b:1",
        "security.protocol": "PLAINTEXT",
    }


def test_reads_are_held_against_the_dictionary_by_their_p99() -> None:
    floor = Reads([0.001] * 99 + [0.002], 900, 0.0)
    slow = Reads([0.001] * 97 + [0.005] * 3, 900, 0.001)
    found = reading([floor], [slow])
    assert found["floor"]["p99_ms"]["median"] == 1.0
    assert (found["ratio"], found["passed"]) == (5.0, False)
    assert reading([slow], [floor])["passed"]
    assert json.loads(json.dumps(found)) == found


def test_a_late_answer_counts_from_when_its_request_was_due() -> None:
    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        waited = threading.Event()

        def do_GET(self) -> None:
            if self.path == "/0":
                self.waited.wait(0.3)
            self.send_response(200 if self.headers["Authorization"] == "Bearer t" else 401)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = read_steadily(url, "t", [f"/{number}" for number in range(10)], 100, 0.1, 1)
        with pytest.raises(RuntimeError, match="/0: 401"):
            read_steadily(url, "other", ["/0"], 100, 0.01, 1)
        server.shutdown()
    assert len(found.seconds) == 10
    assert found.average_bytes == 2
    assert found.seconds[1] > 0.25, "it was due 10 ms after the one that took 300"


def test_the_dictionary_answers_as_the_stage_does() -> None:
    http = TestClient(dictionary_app({"e1": {"event_id": "e1", "values": [1]}}))
    assert http.get("/v1/features", params={"event_id": "e1"}).json() == {"event_id": "e1", "values": [1]}
    assert http.get("/v1/features", params={"event_id": "e2"}).status_code == 404


def test_state_is_measured_after_each_number_of_events() -> None:
    sizes = list(feature_sizes(load_feature_set(POLICY_DIR, "payments"), (3_000, 5_000)))
    assert [one["payments"] for one in sizes] == [3_000, 5_000]
    assert sizes[0]["entries"] == 2 * 3_000, "a payment is one entry of its customer and one of its terminal"
    assert all(one["bytes_per_entity"] > 0 for one in sizes)
    graph = list(graph_sizes(load_graph_policy(POLICY_DIR), (1_000, 2_000)))
    assert graph[1]["edges"] > graph[0]["edges"] > 3_000
    assert growth_of([{"bytes_per_entity": 800}, {"bytes_per_entity": 880}]) == 1.1


def test_a_restart_in_time_is_met() -> None:
    found = restarted(1_000_000, [21.0, 25.0, 22.0], 2.0)
    assert (found["seconds"]["median"], found["replayed_per_second"], found["passed"]) == (22.0, 50_000, True)
    assert not restarted(1_000_000, [31.0], 2.0)["passed"]


def test_left_out_is_neither_missed_nor_failed() -> None:
    parts: dict[str, dict[str, Any]] = {
        "quix": {"skipped": "no quixstreams", "passed": None},
        "read": {"passed": False},
        "scoring": {"passed": True},
        "restart": {"error": "RuntimeError: no broker"},
    }
    found = features_report(parts, features_effort(quick=True, repetitions=3))
    assert [found[name] for name in ("met", "missed", "skipped", "failed")] == [
        ["scoring"],
        ["read"],
        ["quix"],
        ["restart"],
    ]
    assert in_words(parts["quix"]) == "left out: no quixstreams"
    assert features_row("quix", parts["quix"])[4] == "left out"
    assert features_row("restart", parts["restart"])[4] == "could not run"


def test_parts_in_words() -> None:
    read = {side: {"p99_ms": {"median": 2.0}} for side in ("floor", "ours")}
    assert features_row("read", read | {"ratio": 1.0, "target": 2.0, "passed": True}) == (
        "p99 2.0 ms", "p99 2.0 ms", "1.0", "≤ 2.0", "met",
    )  # fmt: skip
    state = {"bytes_per_entity": 800, "growth": 1.2, "target": 1.1, "passed": False}
    assert features_row("state", state)[1:] == ("800 bytes an entity, growth x1.2", "", "≤ x1.1", "MISSED")


def test_quick_is_once_and_small() -> None:
    assert features_effort(quick=True, repetitions=5).repetitions == 1
    assert features_effort(quick=False, repetitions=5).repetitions == 5


def test_an_unknown_part_is_named_before_anything_starts() -> None:
    outcome = CliRunner().invoke(bench_app, ["features", "--only", "quicks"])

    assert outcome.exit_code == 2
    assert all(name in outcome.output for name in FEATURE_PARTS)
