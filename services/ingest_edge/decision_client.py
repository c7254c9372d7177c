"""Asks the decision fabric for decisions that this process has not seen itself, and how they are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field

from services.ingest_edge.core import micros_of
from services.ingest_edge.deadline import Deadline
from sluice_kit.http import ProblemError
from sluice_kit.receipts import moment_text

DECISIONS_AWAY: Final = "DECISIONS_AWAY"
_SAID: Final = ("payment_id", "outcome", "mode", "reason_codes", "score_ppm", "policy_revision", "posture")


class BundleView(BaseModel):
    """Which bundle decided."""

    id: str
    revision: str
    hash: str


class DecisionView(BaseModel):
    """A decision as its payment's publisher sees it; ``bundle`` null: none could be used."""

    decision_id: str
    event_id: str = Field(description="of the payment")
    payment_id: str
    outcome: Literal["ALLOW", "STEP_UP", "REVIEW", "DECLINE"]
    mode: Literal["MODEL", "RULES_ONLY", "FALLBACK", "FAIL_CLOSED"]
    reason_codes: list[str] = Field(description="first reason first")
    score_ppm: int | None = Field(description="score of the model in millionths")
    bundle: BundleView | None
    policy_revision: str
    posture: str
    decided_at: str = Field(description="RFC 3339 UTC")

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From the decoded fields of a ``decision`` event."""
        said = fields["payload"]
        bundle = None
        if said["bundle_hash"] is not None:
            bundle = BundleView(
                id=said["bundle_id"], revision=said["bundle_revision"], hash=said["bundle_hash"]
            )
        return cls(
            decision_id=fields["event_id"],
            event_id=said["subject_event_id"],
            bundle=bundle,
            decided_at=moment_text(said["decided_at"]),
            **{name: said[name] for name in _SAID},
        )

    @classmethod
    def of_answer(cls, body: bytes) -> Self:
        """From the fabric's answer, which has more in it. Raises ValueError for what is none."""
        found = cls.model_validate_json(body)
        micros = micros_of(found.decided_at)
        if isinstance(micros, str):
            raise ValueError(f"decided_at: {micros} is no time")  # noqa: TRY004 - what it says is wrong
        return found.model_copy(update={"decided_at": moment_text(micros)})


class DecisionsAwayError(Exception):
    """Who may hold a decision (the fabric; gate and event bus) does not answer, or not in time."""


class DecisionClient:
    """Looks decisions up at the fabric's ``/v1/decisions``; the fabric holds the last ones.

    ``address`` gives the fabric's base URL of now or raises LookupError; ``token`` is what the fabric knows
    this edge by.
    """

    def __init__(
        self,
        address: Callable[[], str],
        *,
        token: str | None,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._address, self._timeout = address, timeout
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(timeout=timeout, headers=headers, transport=transport)

    async def decision(
        self, event_id: str, *, tenant: str, run_id: str, deadline: Deadline
    ) -> DecisionView | None:
        """The decision about an event; None: not made, or not held any more. Raises DecisionsAwayError."""
        seconds = min(self._timeout, deadline.left)
        if seconds <= 0:
            raise DecisionsAwayError("no time was left to ask the decision fabric")
        try:
            url = f"{self._address().rstrip('/')}/v1/decisions/{quote(event_id, safe='')}"
            async with asyncio.timeout(seconds):
                answer = await self._client.get(url, params={"tenant": tenant, "run_id": run_id})
        except LookupError as error:
            raise DecisionsAwayError(str(error)) from error
        except (httpx.HTTPError, TimeoutError) as error:
            raise DecisionsAwayError(type(error).__name__) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            raise DecisionsAwayError(f"the decision fabric answers {answer.status_code}")
        try:
            return DecisionView.of_answer(answer.content)
        except ValueError as error:
            raise DecisionsAwayError(f"the decision fabric's answer is no decision: {error}") from error

    async def close(self) -> None:
        """Drop the connections."""
        await self._client.aclose()


def decisions_away(error: DecisionsAwayError, retry_after: int) -> ProblemError:
    """The answer to a look-up while nobody who may hold the decision answers."""
    return ProblemError(
        503,
        DECISIONS_AWAY,
        f"decisions cannot be looked up now: {error}",
        action="Ask again later; decisions are never lost.",
        headers={"Retry-After": str(retry_after)},
    )
