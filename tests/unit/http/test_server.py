import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import httpx
import pytest
from fastapi import FastAPI

from sluice_kit.http import ThreadedServer, build_app, run_beside
from sluice_kit.telemetry import Health, MetricFamilies

PROGRAM = """
    import sys, threading
    from sluice_kit.http import build_app, run_beside
    from sluice_kit.telemetry import Health, MetricFamilies

    def work(stop):
        health.started()
        stop.wait(20)
        print("drained", flush=True)
        if "--crash" in sys.argv:
            raise RuntimeError("stage failed")

    health = Health("svc")
    app = build_app("svc", health, MetricFamilies().service("svc"))
    run_beside(app, work, health=health, on_bound=lambda port: print(port, flush=True))
"""


def _app(health: Health) -> FastAPI:
    return build_app("svc", health, MetricFamilies().service("svc"))


def test_a_threaded_server_answers_and_stops() -> None:
    with ThreadedServer(_app(Health("svc"))) as server:
        url = f"http://127.0.0.1:{server.port}/health/live"
        assert httpx.get(url).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_stop_does_not_wait_for_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice_kit.http.server._TICK_SECONDS", 60.0)
    begun = time.monotonic()
    with ThreadedServer(_app(Health("svc"))):
        pass
    assert time.monotonic() - begun < 30


def test_a_kept_open_connection_does_not_wait_for_the_body_behind_the_headers() -> None:
    requests = 60
    with ThreadedServer(_app(Health("tidy"))) as server, httpx.Client(timeout=10) as client:
        begun = time.monotonic()
        for _ in range(requests):
            assert client.get(f"http://127.0.0.1:{server.port}/health/live").status_code == 200
        seconds = time.monotonic() - begun
    assert seconds < requests * 0.02, "half of what it takes when each answer waits for an acknowledgement"


def test_a_taken_port_is_an_error_at_start_and_not_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        ThreadedServer(_app(Health("svc")), port=taken.getsockname()[1]).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_work_and_ends_the_process_cleanly(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
        os.kill(process.pid, number)
        assert process.stdout.readline() == "drained\n"
        assert process.wait(10) == 0


def test_a_crash_of_the_work_ends_the_process_with_an_error() -> None:
    program = textwrap.dedent(PROGRAM)
    with subprocess.Popen(
        [sys.executable, "-c", program, "--crash"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "stage failed" in errors


def test_http_answers_not_ready_while_the_work_drains() -> None:
    health = Health("svc")
    seen: list[int] = []
    bound = threading.Event()
    ports: list[int] = []

    def on_bound(port: int) -> None:
        ports.append(port)
        bound.set()

    def work(stop: threading.Event) -> None:
        health.started()
        assert bound.wait(10)
        seen.append(httpx.get(f"http://127.0.0.1:{ports[0]}/health/ready").status_code)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
        seen.append(httpx.get(f"http://127.0.0.1:{ports[0]}/health/ready").status_code)

    run_beside(_app(health), work, health=health, on_bound=on_bound)
    assert seen == [200, 503]
