"""Asks every route of a running service without a token, and with one that may only read."""

import re

import httpx

from sluice_kit.config import Wiring

OPEN = ("/health", "/metrics")


def assert_guarded(url: str, wiring: Wiring) -> set[str]:
    """Everything that the service's OpenAPI document lists is closed but for OPEN; returns what was asked."""
    reader = {"Authorization": f"Bearer {wiring.secret_source.get('token_edge')}"}
    asked = set()
    with httpx.Client(base_url=url, timeout=30) as http:
        for path, operations in http.get("/openapi.json").json()["paths"].items():
            filled = re.sub(r"\{\w+\}", "0" * 64, path)
            for method in operations:
                asked.add(f"{method.upper()} {path}")
                if path.startswith(OPEN):
                    assert http.request(method, filled).status_code in {200, 503}, path
                    continue
                stranger = http.request(method, filled)
                assert (stranger.status_code, stranger.json()["code"]) == (401, "UNAUTHENTICATED"), path
                known = http.request(method, filled, headers=reader)
                if method == "get":
                    assert known.status_code in {200, 404, 422}, f"{path}: {known.text}"
                else:
                    assert (known.status_code, known.json()["code"]) == (403, "FORBIDDEN"), path
    return asked
