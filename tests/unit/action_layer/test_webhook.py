"""What goes to a target, and what its answers mean."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from services.action_layer.core import Done, Found, Later, Refused, Unknown
from services.action_layer.intents import content_hash, order_key, webhook_body
from services.action_layer.signing import SigningSecretError, signature, signing_key
from services.action_layer.webhook import Target, WebhookEffector, answer_of, finding_of
from tests.unit.action_layer.builders import intent

KEY = b"a-test's-own"
NONE = httpx.Headers()


def effector(handler: Callable[[httpx.Request], Any], seconds: float = 5) -> WebhookEffector:
    target = Target("http://target/do", "http://target/status/{key}", KEY, seconds, 4)
    return WebhookEffector(target, lambda: 1_700_000_000_000_000, httpx.MockTransport(handler))


async def test_a_call_is_signed_and_names_its_key() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    one = effector(handler)
    assert await one.call(intent()) == Done(204)
    assert await one.call(intent()) == Done(204)
    await one.close()
    first, second = seen
    assert first.content == second.content == webhook_body(intent())
    headers = first.headers
    assert (headers["idempotency-key"], headers["webhook-id"]) == ("k-1", "k-1")
    signed = f"k-1.{headers['webhook-timestamp']}.".encode() + first.content
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("x"), Later),
        (httpx.ConnectTimeout("x"), Later),
        (httpx.PoolTimeout("x"), Later),
        (httpx.ReadTimeout("x"), Unknown),
        (httpx.WriteTimeout("x"), Unknown),
        (httpx.WriteError("x"), Unknown),
        (httpx.ReadError("x"), Unknown),
        (httpx.RemoteProtocolError("x"), Unknown),
    ],
)
async def test_only_what_never_left_may_be_repeated_blindly(error: Exception, kind: type) -> None:
    def handler(_request: httpx.Request) -> httpx.Response:
        raise error

    one = effector(handler)
    assert isinstance(await one.call(intent()), kind)
    assert (await one.reconcile("k-1")).found is Found.UNDECIDED
    await one.close()


async def test_an_answer_that_drips_ends_with_the_time_out() -> None:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b"."
                await asyncio.sleep(0.01)

    one = effector(lambda _: httpx.Response(200, stream=Drip()), seconds=0.05)
    assert isinstance(await one.call(intent()), Unknown)
    await one.close()


async def test_an_answer_without_measure_is_not_read_to_its_end() -> None:
    one = effector(lambda _: httpx.Response(200, content=b"." * 100_000))
    assert isinstance(await one.call(intent()), Unknown)
    await one.close()


def said(status: str, key: str = "k-1") -> bytes:
    return orjson.dumps({"idempotency_key": key, "status": status})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", Done),
        (202, b"", Done),
        (409, said("executed"), Done),
        (409, said("executed", "other"), Refused),
        (409, said("pending"), Refused),
        (409, b"[]", Refused),
        (400, b"", Refused),
        (301, b"", Refused),
        (408, b"", Later),
        (429, b"", Later),
        (500, b"", Later),
        (503, b"\xff", Later),
    ],
)
def test_a_status_has_one_meaning(status: int, body: bytes, kind: type) -> None:
    assert isinstance(answer_of("k-1", status, NONE, body), kind)


@pytest.mark.parametrize(
    ("text", "wait"), [("3", 3_000), ("999999", 3_600_000), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-1", 0)]
)
def test_retry_after_is_heard_within_reason(text: str, wait: int) -> None:
    answer = answer_of("k-1", 503, httpx.Headers({"Retry-After": text}), b"")
    assert isinstance(answer, Later)
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
    assert finding_of("k-1", status, body).found is found


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
