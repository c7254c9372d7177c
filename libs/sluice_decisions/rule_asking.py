"""Asking the rules of one policy about the cases of one batch.

Cases of which the same names are known share a CEL context: making one converts every value and costs more
than all rules together, so for the next case only the values that differ are set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, NamedTuple

from sluice_decisions.cases import Case, FieldValue, RuleFailure
from sluice_decisions.policy import NamedList, Rule
from sluice_decisions.vocabulary import AMOUNT, POSTURE, SCORE

if TYPE_CHECKING:
    from cel import Context

Lists = Mapping[str, AbstractSet[str]]
"""Members of the lists that are kept outside of the policy, by the list's name."""
Evaluate = Callable[["Context"], object]


class RuleAnswers(NamedTuple):
    """What the rules said of a case: which match, in the policy's order, and whether any was skipped."""

    matched: Sequence[Rule]
    skipped: bool
    failures: Sequence[RuleFailure]


class CompiledRule(NamedTuple):
    """A rule made ready: the call that evaluates it and the variables that it cannot do without."""

    evaluate: Evaluate
    needs: frozenset[str]
    rule: Rule


class ListReading(NamedTuple):
    """The variable that says whether an event is in a list, and what it is looked up by."""

    variable: str
    name: str
    of: str
    entries: frozenset[str] | None

    @classmethod
    def of_policy(cls, variable: str, name: str, one: NamedList) -> ListReading:
        """The reading of a policy's list."""
        return cls(variable, name, one.of, None if one.entries is None else frozenset(one.entries))


class RuleReadings(NamedTuple):
    """What the rules of a policy read, as pairs of a variable and where its value is; and the rules."""

    rules: tuple[CompiledRule, ...]
    score: bool
    features: tuple[tuple[str, int], ...]
    fields: tuple[tuple[str, str], ...]
    lists: tuple[ListReading, ...]
    guarded: tuple[tuple[str, str], ...]
    """A variable, and the one that says whether it is known."""


class _Known:
    """A context for the cases of which the same variables are known, and what to ask with it."""

    __slots__ = ("asked", "context", "none_matched", "skipped", "values")

    def __init__(self, readings: RuleReadings, values: dict[str, object], context: type[Context]) -> None:
        presences = {presence: variable in values for variable, presence in readings.guarded}
        self.values = values
        self.context = context({**values, **presences})
        self.asked: list[tuple[Evaluate | None, Rule]] = []
        """Rules in the policy's order; without an evaluation one matches, because something is missing."""
        self.skipped = False
        for evaluate, needs, rule in readings.rules:
            if needs <= values.keys():
                self.asked.append((evaluate, rule))
            elif rule.when_missing == "MATCH":
                self.asked.append((None, rule))
            else:
                self.skipped = True
        self.none_matched = RuleAnswers((), self.skipped, ())

    def set(self, values: dict[str, object]) -> None:
        """Take the values of the next case."""
        before = self.values
        self.context.update(
            {variable: value for variable, value in values.items() if value is not before[variable]}
        )
        self.values = values


class RuleAsking:
    """The rules, asked at one posture and with the lists as they are at one batch."""

    def __init__(self, readings: RuleReadings, posture: str, lists: Lists) -> None:
        import cel  # noqa: PLC0415 - see rule_language

        self._context = cel.Context
        self._readings = readings
        self._posture = posture
        self._lists = [(one, lists.get(one.name)) for one in readings.lists]
        self._known: dict[tuple[str, ...], _Known] = {}

    def answers(self, case: Case, score: int | None, absent: AbstractSet[int] | None) -> RuleAnswers:
        """Ask every rule. `absent`: positions of features that may not be read, None when none may.

        A rule that raises becomes a RuleFailure; it never raises here.
        """
        values = self._values(case, score, absent)
        names = tuple(values)
        known = self._known.get(names)
        if known is None:
            known = self._known[names] = _Known(self._readings, values, self._context)
        else:
            known.set(values)
        context = known.context
        matched: list[Rule] = []
        failures: list[RuleFailure] = []
        for evaluate, rule in known.asked:
            if evaluate is None:
                matched.append(rule)
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
        if not matched and not failures:
            return known.none_matched
        return RuleAnswers(matched, known.skipped, failures)

    def _values(self, case: Case, score: int | None, absent: AbstractSet[int] | None) -> dict[str, object]:
        """Every value that some rule reads and that is known."""
        readings = self._readings
        values: dict[str, object] = {AMOUNT: case.amount, POSTURE: self._posture}
        if score is not None and readings.score:
            values[SCORE] = score
        if absent is not None and case.snapshot is not None:
            features = case.snapshot.values
            for variable, position in readings.features:
                if position not in absent:
                    values[variable] = features[position]
        fields = case.fields
        for variable, field in readings.fields:
            if field in fields:
                values[variable] = fields[field]
        for one, kept in self._lists:
            member = _member(fields.get(one.of), one.entries, kept)
            if member is not None:
                values[one.variable] = member
        return values


def _member(
    value: FieldValue | None, entries: frozenset[str] | None, kept: AbstractSet[str] | None
) -> bool | None:
    """None: the event has no such field, or nobody has said what is in the list."""
    if value is None or (kept is None and entries is None):
        return None
    return (entries is not None and value in entries) or (kept is not None and value in kept)
