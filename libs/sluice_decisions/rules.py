"""A policy's rules, compiled against a feature set and evaluated for one case at a time.

All rules are asked and the most severe outcome among those that match holds: adding a rule can make a
decision stricter, never laxer, and the order of the rules orders reasons only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from sluice_decisions.cases import Case, FieldValue, RuleFailure
from sluice_decisions.documents import DocumentProblem
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.policy import DecisionPolicy, NamedList, Rule
from sluice_decisions.postures import Posture
from sluice_decisions.rule_language import Expression, ExpressionProblem, compile_expression
from sluice_decisions.rule_probes import type_problem
from sluice_decisions.vocabulary import AMOUNT, POSTURE, SCORE, Name, Root, Vocabulary

if TYPE_CHECKING:
    from cel import Context

Lists = Mapping[str, AbstractSet[str]]
"""Members of the lists that are kept outside of the policy, by the list's name."""


class RuleAnswers(NamedTuple):
    """What the rules said of a case: which match, in the policy's order, and whether any was skipped."""

    matched: list[Rule]
    skipped: bool
    failures: list[RuleFailure]


class _Compiled(NamedTuple):
    """A rule made ready: the call that evaluates it and the variables that it cannot do without."""

    evaluate: Callable[[Context], object]
    needs: frozenset[str]
    rule: Rule

    @classmethod
    def of(cls, rule: Rule, expression: Expression) -> _Compiled:
        needs = frozenset(name.variable for name in expression.needs)
        return cls(expression.program.execute, needs, rule)


class _List:
    """A list and the event field that it is asked about."""

    def __init__(self, name: str, one: NamedList) -> None:
        self._name = name
        self._of = one.of
        self._entries = None if one.entries is None else frozenset(one.entries)

    def holds(self, fields: Mapping[str, FieldValue], lists: Lists) -> bool | None:
        """None: the event has no such field, or nobody has said what is in the list."""
        value, kept = fields.get(self._of), lists.get(self._name)
        if value is None or (kept is None and self._entries is None):
            return None
        return (self._entries is not None and value in self._entries) or (kept is not None and value in kept)


class RuleSet:
    """Compiled rules. Holds no state; an evaluation depends on its arguments alone."""

    def __init__(
        self, policy: DecisionPolicy, binding: FeatureBinding, compiled: list[tuple[Rule, Expression]]
    ) -> None:
        import cel  # noqa: PLC0415 - see rule_language

        self._context = cel.Context
        self._rules = [_Compiled.of(rule, expression) for rule, expression in compiled]
        names = frozenset[Name]().union(*(expression.names for _, expression in compiled))
        self._needed = frozenset[str]().union(*(one.needs for one in self._rules))
        guarded = frozenset[Name]().union(*(expression.guarded for _, expression in compiled))
        self._guarded = [(name.variable, name.presence) for name in sorted(guarded, key=str)]
        self._reads_score = Name(None, SCORE) in names
        self._features = [
            (name.variable, binding.features.index(name.member)) for name in _under(Root.FEATURES, names)
        ]
        self._fields = [(name.variable, name.member) for name in _under(Root.EVENT, names)]
        self._lists = [
            (name.variable, _List(name.member, policy.lists[name.member]))
            for name in _under(Root.LISTS, names)
        ]

    def __len__(self) -> int:
        return len(self._rules)

    def answers(
        self,
        case: Case,
        score: int | None,
        posture: Posture,
        absent: Collection[int] | None,
        lists: Lists,
    ) -> RuleAnswers:
        """Ask every rule. `absent`: positions of features that may not be read, None when none may.

        A rule that raises becomes a RuleFailure; it never raises here.
        """
        variables = self._variables(case, score, posture, absent, lists)
        missing = self._needed.difference(variables)
        context = self._context(variables)
        matched: list[Rule] = []
        failures: list[RuleFailure] = []
        skipped = False
        for evaluate, needs, rule in self._rules:
            if missing and not needs.isdisjoint(missing):
                if rule.when_missing == "MATCH":
                    matched.append(rule)
                else:
                    skipped = True
                continue
            try:
                value = evaluate(context)
            except Exception as error:  # noqa: BLE001 - CEL's errors come as many types; each is RULE_ERROR
                failures.append(RuleFailure(case.event_id, rule.id, str(error).splitlines()[0]))
                continue
            if value is True:
                matched.append(rule)
            elif value is not False:
                failures.append(RuleFailure(case.event_id, rule.id, f"gave {value!r}"))
        return RuleAnswers(matched, skipped, failures)

    def _variables(
        self,
        case: Case,
        score: int | None,
        posture: Posture,
        absent: Collection[int] | None,
        lists: Lists,
    ) -> dict[str, object]:
        """Every value that some rule reads and that is known."""
        variables: dict[str, object] = {AMOUNT: case.amount, POSTURE: posture.value}
        if score is not None and self._reads_score:
            variables[SCORE] = score
        if absent is not None and case.snapshot is not None:
            values = case.snapshot.values
            for variable, position in self._features:
                if position not in absent:
                    variables[variable] = values[position]
        fields = case.fields
        for variable, field in self._fields:
            if field in fields:
                variables[variable] = fields[field]
        for variable, one in self._lists:
            member = one.holds(fields, lists)
            if member is not None:
                variables[variable] = member
        for variable, presence in self._guarded:
            variables[presence] = variable in variables
        return variables


def _under(root: Root, names: frozenset[Name]) -> list[Name]:
    return sorted((name for name in names if name.root is root), key=str)


def compile_rules(policy: DecisionPolicy, binding: FeatureBinding, source: str) -> RuleSet | DocumentProblem:
    """Compile and type-check every rule; a problem names source, rule and position in its text."""
    vocabulary = Vocabulary(binding.features, policy.lists, policy.event_fields)
    compiled: list[tuple[Rule, Expression]] = []
    for rule in policy.rules:
        expression = compile_expression(rule.when, vocabulary)
        if isinstance(expression, ExpressionProblem):
            return DocumentProblem(source, f"rule {rule.id}, {expression.position}", expression.message)
        wrong = type_problem(expression, vocabulary)
        if wrong is not None:
            return DocumentProblem(source, f"rule {rule.id}, whole expression", wrong)
        compiled.append((rule, expression))
    return RuleSet(policy, binding, compiled)
