"""A policy's rules, compiled against a feature set and evaluated for one case at a time.

All rules are asked and the most severe outcome among those that match holds: adding a rule can make a
decision stricter, never laxer, and the order of the rules orders reasons only.
"""

from __future__ import annotations

from sluice_decisions.documents import DocumentProblem
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.policy import DecisionPolicy, Rule
from sluice_decisions.postures import Posture
from sluice_decisions.rule_asking import CompiledRule, ListReading, Lists, RuleAsking, RuleReadings
from sluice_decisions.rule_language import Expression, ExpressionProblem, compile_expression
from sluice_decisions.rule_probes import type_problem
from sluice_decisions.vocabulary import SCORE, Name, Root, Vocabulary


class RuleSet:
    """Compiled rules. Holds no state; an evaluation depends on its arguments alone."""

    def __init__(
        self, policy: DecisionPolicy, binding: FeatureBinding, compiled: list[tuple[Rule, Expression]]
    ) -> None:
        names = frozenset[Name]().union(*(expression.names for _, expression in compiled))
        guarded = frozenset[Name]().union(*(expression.guarded for _, expression in compiled))
        self._readings = RuleReadings(
            rules=tuple(
                CompiledRule(
                    expression.program.execute, frozenset(name.variable for name in expression.needs), rule
                )
                for rule, expression in compiled
            ),
            score=Name(None, SCORE) in names,
            features=tuple(
                (name.variable, binding.features.index(name.member)) for name in _under(Root.FEATURES, names)
            ),
            fields=tuple((name.variable, name.member) for name in _under(Root.EVENT, names)),
            lists=tuple(
                ListReading.of_policy(name.variable, name.member, policy.lists[name.member])
                for name in _under(Root.LISTS, names)
            ),
            guarded=tuple((name.variable, name.presence) for name in sorted(guarded, key=str)),
        )

    def __len__(self) -> int:
        return len(self._readings.rules)

    def asking(self, posture: Posture, lists: Lists) -> RuleAsking:
        """Ask them about the cases of one batch."""
        return RuleAsking(self._readings, posture.value, lists)


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
