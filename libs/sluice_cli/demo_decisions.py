"""The decision loop in the demo's outcome: what the checker found, as checks, answer and table."""

from collections.abc import Mapping
from typing import Any

from sluice_cli.demo_story import Story
from sluice_decisions import Outcome
from sluice_kit.replay.verifying import VerifyReport

Check = tuple[bool, str]


def loop_checks(
    loop: Mapping[str, Any], payments: int, verified: VerifyReport, *, every_outcome: bool
) -> list[Check]:
    """What has to hold beyond the checker's own rules, and in words what does not.

    `every_outcome`: whether each of the four has to be among the decisions.
    """
    decisions, outcomes, mix = loop["decisions"], loop["outcomes"], loop["by_outcome"]
    absent = sorted(outcome for outcome in Outcome if not mix.get(outcome)) if every_outcome else []
    undone = {name: count for name, count in outcomes.items() if name in {"DENIED", "FAILED"}}
    by_model = loop["by_mode"].get("MODEL", 0)
    return [
        (decisions == payments, f"{decisions} decisions of {payments} payments"),
        (loop["audit_records"] == payments, f"{loop['audit_records']} audit records of {payments} payments"),
        (not absent, f"no payment came out as {', '.join(absent)}: {mix}"),
        (by_model > 0, f"the model decided nothing: {loop['by_mode']}"),
        (not undone, f"actions were not done: {undone}"),
        (
            loop["incomplete"] <= loop["without_snapshot"],
            f"{loop['incomplete']} audit records lack a link, more than decisions a snapshot",
        ),
        (verified.identical, _difference(verified)),
    ]


def loop_answer(loop: Mapping[str, Any]) -> dict[str, Any]:
    """The loop's part of `--json`."""
    return {
        "decisions": loop["decisions"],
        "by_outcome": loop["by_outcome"],
        "by_mode": loop["by_mode"],
        "actions": {
            "intents": loop["intents"],
            "outcomes": loop["outcomes"],
            "webhook_executed": loop["webhook_executed"],
            "effects": loop["effects"],
        },
        "audit_records": loop["audit_records"],
        "audit_corrections": loop["audit_corrections"],
        "decision_ms": loop["decision_ms"],
        "declined": loop["declined"],
    }


def loop_rows(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The loop in the summary's table."""
    actions, waited, checkout = answer["actions"], answer["decision_ms"], answer["checkout_ms"]
    mix = ", ".join(f"{name} {count:,}" for name, count in answer["by_outcome"].items())
    modes = ", ".join(f"{name} {count:,}" for name, count in answer["by_mode"].items())
    ends = ", ".join(f"{name} {count:,}" for name, count in actions["outcomes"].items())
    rows = [
        ("decisions", f"{answer['decisions']:,}: {mix}"),
        ("decided by", modes),
        ("actions", f"{actions['intents']:,} intents: {ends}"),
        ("effects at the receiver", f"{actions['effects']:,}, each once"),
        ("audit records, signed", f"{answer['audit_records']:,}"),
        ("a checkout that waits", f"p50 {checkout['p50']:,} ms, the slowest {checkout['max']:,} ms"),
    ]
    closed = answer["by_mode"].get("FAIL_CLOSED", 0)
    if closed:
        rows.insert(2, ("", f"{closed:,} while signals were too old to decide by (gate away, machine slow)"))
    if waited is not None:
        behind = f"p50 {waited['p50']:,} ms, p99 {waited['p99']:,} ms in the queue of a world sent at once"
        rows.append(("lane to decision", behind))
    return rows


def show_declined(story: Story, declined: Mapping[str, Any] | None) -> None:
    """One declined payment and why."""
    story.chapter("A declined payment")
    if declined is None:
        story.note("none was declined")
        return
    amount = f"{declined['amount_minor'] / 100:,.2f} {declined['currency']}"
    score = declined["score_ppm"]
    told = "" if score is None else f", score {score / 1e6:.3f}"
    story.done(f"{declined['event_id']}: {amount}{told}, {', '.join(declined['reason_codes'])}")


def _difference(verified: VerifyReport) -> str:
    found = verified.difference
    if found is None:
        return ""
    return f"batch {found.record.batch_no} comes out otherwise: {', '.join(found.services)}"
