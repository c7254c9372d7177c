"""The decision policy: rules, lists and explicit outcomes, as data with a revision and a fingerprint."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sluice_decisions.documents import Document, Part
from sluice_decisions.outcomes import Outcome, Reason
from sluice_decisions.vocabulary import FieldType

MemberName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
RuleId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
ReasonCode = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
MAX_RULES = 500


class Rule(Part):
    """One condition in CEL and what it decides.

    `when_missing`: what holds when a value that it reads, and does not ask `has()` of, is not known: SKIP
    (the decision says RULE_SKIPPED) or MATCH.
    """

    id: RuleId
    when: Annotated[str, Field(min_length=1)]
    outcome: Outcome
    reason_code: ReasonCode
    when_missing: Literal["SKIP", "MATCH"] = "SKIP"
    description: str = ""

    @model_validator(mode="after")
    def _own_reason(self) -> Self:
        if self.reason_code in tuple(Reason):
            raise ValueError(f"reason_code {self.reason_code} has a meaning of its own; choose another")
        return self


class NamedList(Part):
    """A list that is asked for the event field `of`. Entries stand here, are kept elsewhere, or both."""

    of: MemberName
    entries: tuple[str, ...] | None = None


class Outcomes(Part):
    """What is decided where no rule and no score decides. Each is written out: no silent default."""

    default: Outcome
    rules_only: Outcome
    fallback: Outcome
    rule_error: Outcome
    fail_closed: Outcome

    @model_validator(mode="after")
    def _never_laxer(self) -> Self:
        if self.rule_error is Outcome.ALLOW:
            raise ValueError("rule_error must be STEP_UP, REVIEW or DECLINE")
        if self.fail_closed not in (Outcome.REVIEW, Outcome.DECLINE):
            raise ValueError("fail_closed must be REVIEW or DECLINE")
        return self


class DecisionPolicy(Document):
    """Rules in order, the fields and lists that they read, and the outcomes beyond the rules.

    `attributions`: at most so many reasons of a score stand in a decision.
    """

    event_fields: dict[MemberName, FieldType] = Field(default_factory=dict)
    lists: dict[MemberName, NamedList] = Field(default_factory=dict)
    outcomes: Outcomes
    attributions: Annotated[int, Field(strict=True, ge=0, le=32)] = 5
    rules: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        repeated = [one for one, count in Counter(rule.id for rule in self.rules).items() if count > 1]
        if repeated:
            raise ValueError(f"rules are named twice: {', '.join(sorted(repeated))}")
        for name, one in self.lists.items():
            if self.event_fields.get(one.of) != "text":
                raise ValueError(f"lists.{name}: of is {one.of!r}, which is no text in event_fields")
        return self


BUILT_IN_REVISION = "built-in"
"""The policy revision of a decision for which no bundle was resolved."""

BUILT_IN_OUTCOMES = Outcomes(
    default=Outcome.REVIEW,
    rules_only=Outcome.REVIEW,
    fallback=Outcome.REVIEW,
    rule_error=Outcome.REVIEW,
    fail_closed=Outcome.DECLINE,
)
"""What is decided without a bundle: a person looks at it, or it is declined."""
