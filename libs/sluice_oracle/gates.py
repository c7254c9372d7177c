"""Gates: what must hold before anything of a world may be read, judged on the bytes that were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice_oracle.draft import DraftOutput, WorldDraft
from sluice_oracle.manifest import GateCheck, Role, Verdict
from sluice_oracle.scanning import OutputFacts, scan_output


@dataclass(frozen=True, slots=True)
class GateFinding:
    """A gate's verdict before its receipt is written."""

    gate_id: str
    output_ids: tuple[str, ...]
    checks: tuple[GateCheck, ...]

    @property
    def verdict(self) -> Verdict:
        """PASS when every check passed."""
        return Verdict.PASS if all(check.passed for check in self.checks) else Verdict.FAIL


def scan_world(folder: Path, draft: WorldDraft) -> dict[str, OutputFacts]:
    """The facts of every output; those that others reference are read first."""
    referenced = {target for output in draft.outputs for target in output.references.values()}
    facts: dict[str, OutputFacts] = {}

    def read(output: DraftOutput, visiting: tuple[str, ...] = ()) -> None:
        if output.output_id in facts:
            return
        if output.output_id in visiting:
            raise ValueError(f"outputs reference each other in a circle: {' -> '.join(visiting)}")
        for target in output.references.values():
            read(by_id[target], (*visiting, output.output_id))
        targets = {column: facts[target].keys for column, target in output.references.items()}
        facts[output.output_id] = scan_output(folder, output, targets)

    by_id = {output.output_id: output for output in draft.outputs}
    for output in sorted(draft.outputs, key=lambda output: output.output_id not in referenced):
        read(output)
    return facts


def judge(draft: WorldDraft, facts: Mapping[str, OutputFacts]) -> tuple[GateFinding, ...]:
    """`<output>.integrity` for every output, `<output>.corridor` where a share of fraud is expected."""
    findings = [_integrity(output, facts[output.output_id]) for output in draft.outputs]
    findings += [
        _corridor(output, facts[output.output_id], draft.corridors[output.output_id])
        for output in draft.outputs
        if output.output_id in draft.corridors
    ]
    return tuple(findings)


def _integrity(output: DraftOutput, facts: OutputFacts) -> GateFinding:
    checks = [
        _check("columns", not facts.schema_problem, facts.schema_problem or "as pinned"),
        _check("rows", facts.rows > 0, f"{facts.rows} rows"),
    ]
    if not facts.schema_problem:
        unique = not facts.null_keys and not facts.duplicate_key
        named = f"{facts.duplicate_key!r} occurs twice" if facts.duplicate_key else "all keys differ"
        checks.append(_check("primary_key", unique, f"{facts.null_keys} nulls" if facts.null_keys else named))
        checks += [
            _check(
                f"references.{column}", not facts.orphans[column], f"{facts.orphans[column]} without {target}"
            )
            for column, target in output.references.items()
        ]
    if output.role is Role.BUSINESS_TRAFFIC and not facts.schema_problem:
        where = (
            "by ts_utc, row_key" if facts.unsorted_at is None else f"row {facts.unsorted_at} is out of order"
        )
        checks.append(_check("time_order", facts.unsorted_at is None, where))
        broken = ", ".join(f"{rule} ({rows} rows)" for rule, rows in sorted(facts.broken.items()))
        checks.append(_check("contract", not broken, broken or f"every field of {facts.rows} rows"))
    return GateFinding(f"{output.output_id}.integrity", (output.output_id,), tuple(checks))


def _corridor(output: DraftOutput, facts: OutputFacts, corridor: tuple[float, float]) -> GateFinding:
    low, high = corridor
    share = facts.fraud_rows / facts.rows if facts.rows else 0.0
    detail = f"{facts.fraud_rows} of {facts.rows} rows ({share:.4%}), allowed {low:.4%} to {high:.4%}"
    check = _check("fraud_share", low <= share <= high, detail)
    return GateFinding(f"{output.output_id}.corridor", (output.output_id,), (check,))


def _check(name: str, passed: bool, detail: str) -> GateCheck:
    return GateCheck(name=name, passed=passed, detail=detail)
