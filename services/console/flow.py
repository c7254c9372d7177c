"""The live flow: what services say of themselves and what the bus reader saw, looked up once a second."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from services.console.bus_reader import BusReader
from services.console.metric_samples import samples
from services.console.neighbours import Answer, Neighbours
from services.console.rates import Rates
from services.console.settings import NEIGHBOURS

LOOK_SECONDS: Final = 0.9


class Flow:
    """All viewers share one look; without viewers nobody is asked."""

    def __init__(self, neighbours: Neighbours, bus: BusReader) -> None:
        self._neighbours, self._bus = neighbours, bus
        self._rates = Rates()
        self._looking = asyncio.Lock()
        self._looked = float("-inf")
        self._asked: dict[str, Any] = {"services": [], "topics": [], "lag": []}

    async def view(self) -> dict[str, Any]:
        """The flow now, JSON-ready."""
        self._bus.watch()
        async with self._looking:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._asked = await self._look()
                self._looked = time.monotonic()
        return {"at_ms": time.time_ns() // 1_000_000, **self._asked, **self._bus.view()}

    async def _look(self) -> dict[str, Any]:
        health, metrics = await asyncio.gather(
            self._neighbours.each(NEIGHBOURS, "/health"),
            self._neighbours.each(NEIGHBOURS, "/metrics", text=True),
        )
        written, lag = samples(answer.content for answer in metrics.values() if answer.state == "found")
        now = time.monotonic()
        self._rates.take(now, written)
        return {
            "services": [_service(name, health[name]) for name in NEIGHBOURS],
            "topics": [
                {
                    "topic": topic,
                    "per_second": round(self._rates.per_second(topic, now), 1),
                    "history": [round(rate, 1) for rate in self._rates.history(topic)],
                }
                for topic in self._rates.topics()
            ],
            "lag": [
                {"service": service, "topic": topic, "records": records}
                for (service, topic), records in sorted(lag.items())
            ],
        }


def _service(name: str, answer: Answer) -> dict[str, Any]:
    """Its own health where it answers; `absent` where it does not run, `away` where it ought to."""
    if answer.state != "found":
        return {"service": name, "state": answer.state, "detail": answer.detail}
    checks = [check for check in answer.content["checks"] if check["state"] != "ok"]
    told = "; ".join(f"{check['name']}: {check['detail']}" for check in checks)
    return {"service": name, "state": answer.content["state"], "detail": told}
