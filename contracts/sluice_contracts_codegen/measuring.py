"""``python -m sluice_contracts_codegen.measuring [VERSION ...]``: what the codec costs, beside fastavro."""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import fastavro

from sluice_contracts import CONTRACTS, Decoded, decode, payload_hash, to_record
from sluice_contracts_codegen.repository import REPOSITORY

_ROUNDS = 7
_CALLS = 5_000
_DEFAULT = ("payment.v1", "receipt.v1")


def main(versions: tuple[str, ...]) -> None:
    """Print CPU microseconds a call (median, fastest round) for the full example of each version, as JSON."""
    folder = REPOSITORY / "contracts" / "examples"
    figures = {version: _measured((folder / version / "full.bin").read_bytes()) for version in versions}
    report = {"rounds": _ROUNDS, "calls": _CALLS, "microseconds": figures}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


def _measured(value: bytes) -> dict[str, Any]:
    decoded = decode(value)
    assert isinstance(decoded, Decoded)
    contract, fields = decoded.contract, decoded.fields
    parsed = fastavro.parse_schema(_plain(CONTRACTS[contract.event_type, contract.version].schema))
    body = value[5:]

    def fastavro_encode() -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, parsed, fields)
        return stream.getvalue()

    calls: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(value),
        "fastavro_decode": lambda: fastavro.schemaless_reader(io.BytesIO(body), parsed, None),
        "encode": lambda: contract.encode(fields),
        "fastavro_encode": fastavro_encode,
        "check": lambda: contract.check(fields),
        "to_record": lambda: to_record(decoded),
    }
    if contract.enveloped:
        calls["payload_hash"] = lambda: payload_hash(fields)
    return {"bytes": len(value), **{name: _timed(call) for name, call in calls.items()}}


def _timed(call: Callable[[], object]) -> dict[str, float]:
    rounds = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(_CALLS):
            call()
        rounds.append((time.process_time() - started) / _CALLS * 1e6)
    return {"median": round(statistics.median(rounds), 2), "fastest": round(min(rounds), 2)}


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _plain(value) for key, value in node.items() if key != "logicalType"}


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or _DEFAULT)
