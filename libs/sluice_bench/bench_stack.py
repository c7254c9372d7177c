"""The stack of a bench run: a broker with SASL and access control, scratch topics, work processes."""

import multiprocessing
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from confluent_kafka.admin import AdminClient

from sluice_bench.copy_loop import PARTITIONS, PRINCIPAL, Starts
from sluice_bench.payments import LANE, preload
from sluice_bench.watching import committed_ends
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.testing.fresh_topics import make_topics

RECEIPTS = "audit.receipt"
_SETTLE_SECONDS = 1.5
"""A new topic's leaders become known to everyone."""
_JOIN_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_STILL_GROWING_SECONDS = 120.0
Tell = Callable[[str], None]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Payments that stand on the lane: their mark, where they begin, how many bytes their values have."""

    mark: str
    starts: Starts
    records: int
    size: int


class BenchStack:
    """A running substrate, seen by the parts. Work goes to processes of its own (spawned)."""

    def __init__(self, home: Path, tell: Tell) -> None:
        self.home = home
        self.tell = tell
        self.wiring: Wiring = load_wiring(home / "wiring.yaml")
        self.plain: dict[str, Any] = self.wiring.model_dump(mode="json")
        self.admin = AdminClient(client_config(self.wiring, PRINCIPAL))
        self._pool = ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn"))

    def close(self) -> None:
        """End the work processes, also those that still wait for what a failed part will never show them."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
            process.join(_JOIN_SECONDS)

    def submit(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> "Future[Result]":
        """Run `work` in a process of its own, beside what goes on here."""
        return self._pool.submit(work, *arguments, **named)

    def ends(self, topic: str) -> Starts:
        """Committed ends of a topic's partitions now."""
        return committed_ends(self.admin, topic)

    def settle(self, topic: str) -> None:
        """Wait until a topic does not grow any more. Raises RuntimeError when it does for two minutes."""
        deadline = time.monotonic() + _STILL_GROWING_SECONDS
        seen, since = self.ends(topic), time.monotonic()
        while time.monotonic() - since < _SETTLE_SECONDS:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic} still grows after {_STILL_GROWING_SECONDS:.0f} s")
            time.sleep(_LOOK_SECONDS)
            now = self.ends(topic)
            if now != seen:
                seen, since = now, time.monotonic()

    def load(self, records: int) -> Loaded:
        """Put payments on the lane in a generator process and wait until they stand there."""
        mark = uuid.uuid4().hex[:16]
        starts = self.ends(LANE)
        size: int = self.submit(preload, self.plain, mark, records).result(600)
        return Loaded(mark, starts, records, size)

    def scratch_topics(self) -> tuple[str, str]:
        """Two fresh topics with the partition count of traffic.payment and audit.receipt, for a floor."""
        stem = f"bench-{uuid.uuid4().hex[:12]}"
        names = (f"{stem}.fact", f"{stem}.receipt")
        make_topics(self.admin, names, PARTITIONS)
        return names

    def drop(self, topics: tuple[str, ...]) -> None:
        """Delete scratch topics."""
        for future in self.admin.delete_topics(list(topics)).values():
            future.result(30)
