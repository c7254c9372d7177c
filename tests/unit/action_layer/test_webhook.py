"""What goes to a target, and what its answers mean."""

import asyncio
import base64
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from services.action_layer.core import Answer, Done, Found, NotSent, Refused, TurnedAway, Unknown
from services.action_layer.exchange import HttpAnswer
from services.action_layer.intents import content_hash, order_key, webhook_body
from services.action_layer.signing import SigningSecretError, signature, signing_key
from services.action_layer.webhook import Target, WebhookEffector, answer_of, finding_of
from tests.unit.action_layer.builders import intent

KEY = b"a-test's-own"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def effector(port: int, seconds: float = 5) -> WebhookEffector:
    base = f"http://127.0.0.1:{port}"
    target = Target(f"{base}/do?x=1", base + "/status/{key}", KEY, seconds)
    return WebhookEffector(target, lambda: 1_700_000_000_000_000)


@asynccontextmanager
async def serving(serve: Streams) -> AsyncIterator[int]:
    """A server for one test; its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def request_of(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return first, headers, await reader.readexactly(int(headers["content-length"]))


def answering(content: bytes) -> Streams:
    """Reads a request, writes these bytes, ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(content)
        await writer.drain()

    return serve


async def called(serve: Streams, seconds: float = 5) -> tuple[Answer, Found]:
    """What a call and a question come to."""
    async with serving(serve) as port:
        one = effector(port, seconds)
        return await one.call(intent()), (await one.reconcile("k-1")).found


async def test_a_call_is_signed_and_names_its_key() -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(serve) as port:
        one = effector(port)
        assert await one.call(intent()) == Done(204)
        assert await one.call(intent()) == Done(204)
        host = f"127.0.0.1:{port}"
    assert seen[0] == seen[1]
    first, headers, body = seen[0]
    assert (first, headers["host"], body) == ("POST /do?x=1 HTTP/1.1", host, webhook_body(intent()))
    assert (headers["idempotency-key"], headers["webhook-id"]) == ("k-1", "k-1")
    signed = f"k-1.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    key = signing_key("webhook_signing", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_broken_secret_is_named_and_not_shown() -> None:
    with pytest.raises(SigningSecretError, match="webhook_signing") as problem:
        signing_key("webhook_signing", "whsec_###")
    assert "###" not in str(problem.value)


async def test_without_a_connection_nothing_left() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        one = effector(nobody.getsockname()[1])
        assert isinstance(await one.call(intent()), NotSent)
        assert (await one.reconcile("k-1")).found is Found.UNDECIDED


@pytest.mark.parametrize(
    "content",
    [
        b"",
        OK[:10],
        OK[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"." * 100_000,
    ],
)
async def test_what_left_and_has_no_whole_answer_of_some_measure_is_unknown(content: bytes) -> None:
    answer, found = await called(answering(content))
    assert isinstance(answer, Unknown)
    assert found is Found.UNDECIDED


async def test_more_than_one_answer_is_one_answer() -> None:
    answer, _ = await called(answering(OK + OK))
    assert answer == Done(200)
    early, _ = await called(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK))
    assert early == Done(200)


async def test_an_answer_that_drips_ends_with_the_time_out() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    answer, found = await called(drip, seconds=0.05)
    assert isinstance(answer, Unknown)
    assert found is Found.UNDECIDED


def said(status: str, key: str = "k-1") -> bytes:
    return orjson.dumps({"idempotency_key": key, "status": status})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", Done),
        (202, b"", Done),
        (409, said("executed"), Done),
        (409, said("executed", "other"), Refused),
        (409, said("pending"), Unknown),
        (409, said("pending", "other"), Refused),
        (409, b"[]", Refused),
        (400, b"", Refused),
        (301, b"", Refused),
        (408, b"", Unknown),
        (425, b"", TurnedAway),
        (429, b"", TurnedAway),
        (500, b"", Unknown),
        (502, b"", Unknown),
        (503, b"\xff", Unknown),
        (504, b"", Unknown),
    ],
)
def test_a_status_has_one_meaning(status: int, body: bytes, kind: type) -> None:
    assert isinstance(answer_of("k-1", HttpAnswer(status, {}, body)), kind)


@pytest.mark.parametrize(
    ("text", "wait"), [("3", 3_000), ("999999", 3_600_000), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-1", 0)]
)
def test_retry_after_is_heard_within_reason(text: str, wait: int) -> None:
    answer = answer_of("k-1", HttpAnswer(503, {"retry-after": text}, b""))
    assert isinstance(answer, TurnedAway), "a target that says when to come again did not begin"
    assert answer.retry_after_ms == wait


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, said("executed"), Found.EXECUTED),
        (200, said("failed"), Found.FAILED),
        (200, said("unknown"), Found.NOTHING),
        (200, said("pending"), Found.UNDECIDED),
        (200, said("executed", "other"), Found.UNDECIDED),
        (200, said("maybe"), Found.UNDECIDED),
        (200, b"<html>", Found.UNDECIDED),
        (404, b"", Found.NOTHING),
        (500, said("executed"), Found.UNDECIDED),
    ],
)
def test_a_target_is_believed_only_when_it_speaks_of_this_key(status: int, body: bytes, found: Found) -> None:
    assert finding_of("k-1", HttpAnswer(status, {}, body)).found is found


@pytest.mark.parametrize(
    "changes",
    [
        {"effector": "webhook"},
        {"action": "decline"},
        {"domain": "other"},
        {"decision_id": "d-2"},
        {"amount_minor": 1},
        {"entry": "t-1"},
        {"tenant": "other"},
        {"run_id": "run-2"},
        {"not_after": 5},
    ],
)
def test_other_content_is_another_hash(changes: dict[str, Any]) -> None:
    assert content_hash(intent(**changes)) != content_hash(intent())


def test_who_sent_it_when_and_under_which_policy_is_not_content() -> None:
    again = intent(policy_revision="r-2", emitted_at_utc=7, event_id="i-2", traceparent=None)
    assert content_hash(again) == content_hash(intent())
    assert order_key(again) == order_key(intent())
