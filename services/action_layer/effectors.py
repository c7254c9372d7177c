"""What the worker needs of an effector that is outside: a call, and a question about a call."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from services.action_layer.core import Answer, Found
from services.action_layer.intents import Fields


class Finding(NamedTuple):
    """What a target says about a key, and in words."""

    found: Found
    detail: str


class RemoteEffector(Protocol):
    """Both methods return what happened as a value and end within the effector's time-out."""

    async def call(self, intent: Fields) -> Answer:
        """Have the effect done, once however often it is called with the same key."""

    async def reconcile(self, idempotency_key: str) -> Finding:
        """Ask whether it was done; nothing changes."""
