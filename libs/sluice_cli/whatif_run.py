"""The comparison itself: parts of a spilled run through the recorded bundles and through the other one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sluice_cli.recorded_cases import CaseMaker, Taken
from sluice_decisions import Bundle, BundleProblem, Comparison
from sluice_decisions.what_if import Comparing, Deviation, Resolved, deviations

DEVIATIONS = 5
"""Examples of decisions that do not come out as recorded."""


@dataclass(slots=True)
class Baseline:
    """Decisions made again with the bundle that made them; `unchecked` are those whose bundle is gone."""

    compared: int = 0
    different: int = 0
    unchecked: int = 0
    examples: list[Deviation] = field(default_factory=list)

    @property
    def identical(self) -> bool | None:
        """Whether all came out as recorded; None when none could be checked."""
        return None if not self.compared else not self.different and not self.unchecked


def compare(
    parts: Iterable[Iterable[list[Any]]],
    maker: CaseMaker,
    recorded: Mapping[str, Bundle | BundleProblem],
    other: Resolved,
    examples: int,
) -> tuple[Baseline, Comparison]:
    """Part by part: first as it was decided, then as `other` decides. `recorded`: bundles by fingerprint."""
    baseline, comparing = Baseline(), Comparing(other, examples)
    for part in parts:
        taken = maker.cases(part)
        for (fingerprint, problem), group in groupby(taken, key=_decided_by):
            _check(baseline, list(group), problem if fingerprint is None else recorded.get(fingerprint))
        comparing.add(sorted((one.recorded for one in taken), key=lambda one: one.decided_at))
    return baseline, comparing.found()


def _decided_by(taken: Taken) -> tuple[str | None, BundleProblem | None]:
    return taken.bundle_hash, taken.problem


def _check(baseline: Baseline, group: list[Taken], bundle: Resolved) -> None:
    if group[0].bundle_hash is not None and not isinstance(bundle, Bundle):
        baseline.unchecked += len(group)
        return
    found = deviations((one.recorded for one in group), bundle)
    baseline.compared += len(group)
    baseline.different += len(found)
    baseline.examples += found[: DEVIATIONS - len(baseline.examples)]
