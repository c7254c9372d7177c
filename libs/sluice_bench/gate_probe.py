"""The real gate with a pen beside it: `python -m sluice_bench.gate_probe --wiring FILE --probe-out FILE …`.

Writes down how long every batch took, the gaps between commits, and how long the stage's thread stood still
to start each sealing; with `--probe-profile` also where the stage's and the reading thread's time went.
It changes nothing of what the gate does and takes the gate's own arguments beside its two.
"""

import argparse
import cProfile
import io
import json
import pstats
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from services.ingestion_gate.app import main as gate_main
from sluice_kit.stage import Record
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.observer import BatchTimes, StageObserver
from sluice_kit.stage.runner import StageRunner
from sluice_kit.stage.sealing import ChainCheckpoints
from sluice_kit.stage.source import ReadAhead

TOP: Final = 24


class Pen:
    """What was seen; written as one JSON object when the gate has drained."""

    def __init__(self) -> None:
        self.batches: list[tuple[float, int, float]] = []
        self.seals: list[float] = []
        self.profiles: dict[str, cProfile.Profile] = {}

    def attach(self, *, profile: bool) -> None:
        """Wrap the gate's own calls."""
        self._time_batches()
        self._time_seals()
        if profile:
            self._profile("stage", StageRunner, "_step_until_stopped")
            self._profile("read_ahead", ReadAhead, "_run")

    def content(self) -> dict[str, Any]:
        """Batches as (monotonic second, events, seconds), seals as seconds, profiles as top lines."""
        return {
            "batches": self.batches,
            "seals": self.seals,
            "profile": {name: top_costs(profile) for name, profile in self.profiles.items()},
        }

    def _time_batches(self) -> None:
        committed = StageObserver.committed

        def timed(
            observer: StageObserver, runs: Sequence[MemberRun], times: BatchTimes, records: Sequence[Record]
        ) -> None:
            self.batches.append((time.monotonic(), runs[0].events, times.total))
            committed(observer, runs, times, records)

        setattr(StageObserver, "committed", timed)  # noqa: B010 - to a type checker this would be no method

    def _time_seals(self) -> None:
        start = ChainCheckpoints.start

        def timed(checkpoints: ChainCheckpoints) -> None:
            before = time.perf_counter()
            start(checkpoints)
            self.seals.append(time.perf_counter() - before)

        setattr(ChainCheckpoints, "start", timed)  # noqa: B010

    def _profile(self, name: str, owner: type, method: str) -> None:
        work = getattr(owner, method)

        def profiled(*arguments: Any) -> None:
            profile = self.profiles[name] = cProfile.Profile()
            profile.enable()
            try:
                work(*arguments)
            finally:
                profile.disable()

        setattr(owner, method, profiled)


def top_costs(profile: cProfile.Profile) -> list[dict[str, Any]]:
    """The functions that took most time themselves: name, calls, own and cumulative seconds."""
    found: Any = pstats.Stats(profile, stream=io.StringIO())
    rows = sorted(found.stats.items(), key=lambda item: -item[1][2])[:TOP]
    return [
        {
            "function": f"{Path(file).name}:{line}({name})",
            "calls": calls,
            "own_seconds": round(own, 3),
            "cumulative_seconds": round(cumulative, 3),
        }
        for (file, line, name), (_, calls, own, cumulative, _) in rows
    ]


def main() -> int:
    """Run the gate; returns its exit code."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--probe-out", type=Path, required=True)
    parser.add_argument("--probe-profile", action="store_true")
    own, rest = parser.parse_known_args()
    pen = Pen()
    pen.attach(profile=own.probe_profile)
    code = gate_main(rest)
    own.probe_out.write_text(json.dumps(pen.content()), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
