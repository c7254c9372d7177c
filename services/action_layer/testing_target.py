"""A webhook target for tests and benchmarks: an HTTP server that misbehaves on request and counts.

``python -m services.action_layer.testing_target --folder DIR`` writes there ``effects.ndjson`` (one line an
effect), ``requests.ndjson`` (one line a request) and its ``port``. How it behaves towards a payment stands
before the first ``-`` of the payment_id; any other is served well:

flaky: two 500s first. busy: one 429 first. refuse: 400. dead: always 500. fault, gateway: after the effect, a
500 or a 504, once. vanish: the connection ends before the effect, once. crash: after the effect, half an
answer, once. stall: after the effect, no answer, once. drip: after the effect, an answer without end, once.
twice: the answer is sent two times. late: the first request has its effect only after a while, and no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from services.action_layer.signing import signature

_LATE_SECONDS: Final = 0.6
_DRIP_SECONDS: Final = 0.05


@dataclass(slots=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Target:
    """Keeps its effects. ``honours``: it does a key once; else every request that it serves is an effect.

    ``behaves``: it serves every payment well, whatever its payment_id.
    """

    folder: Path
    key: bytes
    honours: bool = True
    behaves: bool = False
    effects: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while (request := await _read(reader)) is not None:
                if not await self._answer(request, writer):
                    break
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False ends the connection."""
        key = request.headers.get("idempotency-key", "")
        self._note("requests", {"key": key, "method": request.method, "at": time.time_ns() // 1_000})
        if not self._is_signed(request, key):
            writer.write(_response(401, {"error": "wrong signature"}))
            return True
        if request.method == "GET":
            known = key in self.effects
            status = {"idempotency_key": key, "status": "executed"}
            writer.write(_response(200, status) if known else _response(404, {"error": "unknown key"}))
            return True
        self.requests[key] += 1
        payment: str = orjson.loads(request.body)["data"]["payment_id"]
        behave = _well if self.behaves else _BEHAVIOURS.get(payment.partition("-")[0], _well)
        return await behave(self, key, self.requests[key], writer)

    def have(self, key: str) -> None:
        """Have the effect, unless it is there and the key is honoured."""
        if self.honours and key in self.effects:
            return
        self.effects[key] += 1
        self._note("effects", {"key": key})

    def _is_signed(self, request: Request, key: str) -> bool:
        stamp = request.headers.get("webhook-timestamp", "0")
        wanted = signature(self.key, key, int(stamp), request.body)
        return hmac.compare_digest(wanted, request.headers.get("webhook-signature", ""))

    def _note(self, name: str, line: dict[str, Any]) -> None:
        with (self.folder / f"{name}.ndjson").open("ab", buffering=0) as file:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


Behaviour = Callable[[Target, str, int, asyncio.StreamWriter], Awaitable[bool]]


async def _well(target: Target, key: str, _number: int, writer: asyncio.StreamWriter) -> bool:
    before = target.honours and key in target.effects
    target.have(key)
    writer.write(_response(409 if before else 200, {"idempotency_key": key, "status": "executed"}))
    return True


async def _flaky(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    if number > 2:
        return await _well(target, key, number, writer)
    writer.write(_response(500, {"error": "not today"}))
    return True


async def _busy(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    if number > 1:
        return await _well(target, key, number, writer)
    writer.write(_response(429, {"error": "too fast"}))
    return True


async def _refuse(_target: Target, _key: str, _number: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(_response(400, {"error": "no such payment"}))
    return True


async def _dead(_target: Target, _key: str, _number: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(_response(500, {"error": "broken"}))
    return True


def _after_the_effect(status: int) -> Behaviour:
    async def behave(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
        if number > 1:
            return await _well(target, key, number, writer)
        target.have(key)
        writer.write(_response(status, {"error": "broken after the effect"}))
        return True

    return behave


async def _vanish(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    return False if number == 1 else await _well(target, key, number, writer)


async def _crash(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    if number > 1:
        return await _well(target, key, number, writer)
    target.have(key)
    whole = _response(200, {"idempotency_key": key, "status": "executed"})
    writer.write(whole[: len(whole) // 2])
    return False


async def _stall(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    if number > 1:
        return await _well(target, key, number, writer)
    target.have(key)
    await asyncio.sleep(3_600)
    return False


async def _drip(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    if number > 1:
        return await _well(target, key, number, writer)
    target.have(key)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(_DRIP_SECONDS)


async def _twice(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    await _well(target, key, number, writer)
    writer.write(_response(200, {"idempotency_key": key, "status": "executed"}))
    return True


async def _late(target: Target, key: str, number: int, writer: asyncio.StreamWriter) -> bool:
    if number > 1:
        return await _well(target, key, number, writer)
    await asyncio.sleep(_LATE_SECONDS)
    target.have(key)
    return False


_BEHAVIOURS: Final[dict[str, Behaviour]] = {
    "flaky": _flaky,
    "busy": _busy,
    "refuse": _refuse,
    "dead": _dead,
    "fault": _after_the_effect(500),
    "gateway": _after_the_effect(504),
    "vanish": _vanish,
    "crash": _crash,
    "stall": _stall,
    "drip": _drip,
    "twice": _twice,
    "late": _late,
}


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request, None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def _response(status: int, document: dict[str, Any]) -> bytes:
    body = orjson.dumps(document)
    head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(folder: Path, key: bytes, *, honours: bool, port: int, behaves: bool = False) -> None:
    """Serve until the process ends; effects of an earlier process in the folder still count."""
    target = Target(folder, key, honours, behaves)
    log = folder / "effects.ndjson"
    if log.is_file():
        target.effects.update(orjson.loads(line)["key"] for line in log.read_bytes().splitlines())
    server = await asyncio.start_server(target.serve, "127.0.0.1", port)
    fresh = folder / "port.tmp"
    fresh.write_text(str(server.sockets[0].getsockname()[1]), encoding="utf-8")
    fresh.rename(folder / "port")
    async with server:
        await server.serve_forever()


def main() -> None:
    """Run a target."""
    parser = argparse.ArgumentParser(prog="python -m services.action_layer.testing_target")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(
        "--secret", default="not-a-secret", help="signs requests; a test's own, never a real one"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--forgets-keys", action="store_true", help="every request is an effect")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    key = chosen.secret.encode()
    asyncio.run(serve(chosen.folder, key, honours=not chosen.forgets_keys, port=chosen.port))


if __name__ == "__main__":
    main()
