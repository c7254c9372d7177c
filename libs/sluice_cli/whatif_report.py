"""What `sluice whatif` answers: one JSON object, or tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from sluice_cli.run_truth import Truth
from sluice_cli.whatif_run import Baseline
from sluice_decisions import Bundle, Comparison
from sluice_decisions.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told. `recorded_by` counts decisions by the bundle that made them."""

    run: str
    tenant: str
    bundle: Bundle
    policy_dir: str | None
    recorded_by: Mapping[str | None, int]
    left_out: Mapping[str, int]
    truth: Truth
    baseline: Baseline
    comparison: Comparison
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain data. Amounts are minor units, shares and scores millionths."""
        found, baseline = self.comparison, self.baseline
        return {
            "ok": baseline.identical is True,
            "run": self.run,
            "tenant": self.tenant,
            "bundle": {
                "id": self.bundle.bundle_id,
                "revision": self.bundle.revision,
                "fingerprint": self.bundle.fingerprint,
                "policy_revision": self.bundle.policy.revision,
                "policy_dir": self.policy_dir,
            },
            "recorded_by": {name or "none": count for name, count in self.recorded_by.items()},
            "compared": found.cases,
            "left_out": dict(self.left_out),
            "baseline_identical": baseline.identical,
            "baseline": {
                "compared": baseline.compared,
                "different": baseline.different,
                "unchecked": baseline.unchecked,
                "examples": [one._asdict() for one in baseline.examples],
            },
            "changed": found.changed,
            "stricter": found.stricter,
            "milder": found.milder,
            "moved": [
                {"before": before, "after": after, "count": count}
                for (before, after), count in found.moved.items()
            ],
            "examples": [one._asdict() for one in found.changes],
            "amounts": {
                "before": {outcome.value: amount for outcome, amount in found.amounts_before.items()},
                "after": {outcome.value: amount for outcome, amount in found.amounts_after.items()},
            },
            "truth": {"source": self.truth.source, "frauds_in_source": len(self.truth.frauds)},
            "quality": {
                f"at_least_{least.lower()}": {
                    "before": found.before[least]._asdict(),
                    "after": found.after[least]._asdict(),
                }
                for least in found.before
            },
            "seconds": round(self.seconds, 2),
        }


def show(report: Report) -> None:
    """The report for people."""
    console, found = Console(soft_wrap=True, highlight=False), report.comparison
    said = {True: "identical", False: "DIFFERENT", None: "not checked"}[report.baseline.identical]
    console.print(f"{report.run}: {found.cases:,} decisions made again in {report.seconds:.1f} s")
    console.print(f"with the bundles that made them: {said}", markup=False)
    for one in report.baseline.examples:
        console.print(
            f"  {one.event_id} {one.field}: recorded {one.recorded}, again {one.again}", markup=False
        )
    for reason, count in report.left_out.items():
        console.print(f"  left out: {count:,} {reason}")
    console.print(
        f"with {report.bundle.bundle_id} {report.bundle.revision} (rules {report.bundle.policy.revision}): "
        f"{found.changed:,} change, {found.stricter:,} stricter, {found.milder:,} milder",
        markup=False,
    )
    console.print(_moves(found))
    console.print(_amounts(found))
    console.print(_qualities(found, report.truth))


def _moves(found: Comparison) -> Table:
    table = Table("before", "after", "decisions", "such as", box=None)
    for (before, after), count in found.moved.items():
        if before is not after:
            names = [one.event_id for one in found.changes if (one.before, one.after) == (before, after)]
            table.add_row(before, after, f"{count:,}", " ".join(names[:2]))
    return table


def _amounts(found: Comparison) -> Table:
    table = Table("outcome", "amount before", "after (minor units)", box=None)
    for outcome in Outcome:
        table.add_row(outcome, f"{found.amounts_before[outcome]:,}", f"{found.amounts_after[outcome]:,}")
    return table


def _qualities(found: Comparison, truth: Truth) -> Table:
    table = Table(
        "at least",
        "precision before",
        "after",
        "recall before",
        "after",
        box=None,
        title=f"truth: {truth.source}",
    )
    for least, before in found.before.items():
        after = found.after[least]
        shares = before.precision_ppm, after.precision_ppm, before.recall_ppm, after.recall_ppm
        table.add_row(least, *("-" if one is None else f"{one / 1e6:.4f}" for one in shares))
    return table
