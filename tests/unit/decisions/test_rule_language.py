import pytest

from sluice_decisions.rule_language import Expression, ExpressionProblem, compile_expression
from sluice_decisions.rule_probes import type_problem
from sluice_decisions.vocabulary import Vocabulary

WORDS = Vocabulary(
    ["amount_mean", "risk"], ["blocked"], {"currency": "text", "hour": "integer", "present": "boolean"}
)


def compiled(source: str) -> Expression:
    expression = compile_expression(source, WORDS)
    assert isinstance(expression, Expression), expression
    return expression


@pytest.mark.parametrize(
    ("source", "variables", "expected"),
    [
        ("features.risk >= 5", {"features__risk": 5}, True),
        ("features . risk >= 5", {"features__risk": 4}, False),
        ("lists.blocked", {"lists__blocked": True}, True),
        ("event.currency == 'features.risk'", {"event__currency": "features.risk"}, True),
        ("event.currency in ['EUR', \"USD\"]", {"event__currency": "USD"}, True),
        ("event.currency.startsWith('E') && size(event.currency) == 3", {"event__currency": "EUR"}, True),
        ("amount * 2 > score // features.nonsense", {"amount": 4, "score": 7}, True),
        ("posture == 'NORMAL' ? amount > 1 : amount > 9", {"amount": 4, "posture": "NORMAL"}, True),
        ("has(features.risk) && features.risk > 1", {"has__features__risk": False}, False),
        ("!has(features.risk) || features.risk > 1", {"has__features__risk": False}, True),
        ("score > 0x10", {"score": 17}, True),
    ],
)
def test_an_expression_reads_flat_variables(
    source: str, variables: dict[str, object], expected: bool
) -> None:
    assert compiled(source).program.execute(variables) is expected


def test_names_that_has_is_asked_of_are_not_needed() -> None:
    expression = compiled("has(features.risk) && features.risk > 1 && event.hour < 7")
    assert {str(name) for name in expression.needs} == {"event.hour"}
    assert {str(name) for name in expression.guarded} == {"features.risk"}


@pytest.mark.parametrize(
    ("source", "position", "words"),
    [
        ("features.risc > 1", "line 1, column 1", "did you mean risk?"),
        ("amount > 1 &&\n  features.nope > 1", "line 2, column 3", "there are amount_mean, risk"),
        ("lists.other", "line 1, column 1", "there are blocked"),
        ("score >", "line 1, column 8", "Syntax error"),
        ("features['risk'] > 1", "line 1, column 1", "features is read as features.name"),
        ("features == 1", "line 1, column 1", "features is read as features.name"),
        ("features__risk > 1", "line 1, column 1", "unknown name features__risk"),
        ("1 > 2.5", "line 1, column 5", "only plain integers"),
        ("amount > 1e3", "line 1, column 10", "only plain integers"),
        ("amount > 5u", "line 1, column 10", "only plain integers"),
        ("[1, 2].exists(x, x > 1)", "line 1, column 8", "no function 'exists'"),
        ("now() > 1", "line 1, column 1", "no function 'now'"),
        ("double(amount) > 1", "line 1, column 1", "no function 'double'"),
        ("{'a': 1}.size() > 0", "line 1, column 1", "maps"),
        ("event.currency == r'E'", "line 1, column 19", "no prefix"),
        ("event.currency.length > 1", "line 1, column 15", "a dot stands in"),
        ("amount == null", "line 1, column 11", "unknown name null"),
        ("1 > " + "1 + " * 600 + "1", "whole expression", "longer than 2000"),
    ],
)
def test_a_problem_says_where_and_what(source: str, position: str, words: str) -> None:
    problem = compile_expression(source, WORDS)
    assert isinstance(problem, ExpressionProblem), problem
    assert problem.position == position
    assert words in problem.message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("score > 'a'", "No such overload"),
        ("score > 900000 || event.currency > 5", "No such overload"),
        ("amount > 100 && score > 'a'", "No such overload"),
        ("posture == 'DEGRADED_1' && amount", "No such overload"),
        ("amount + 1", "gives int"),
        ("event.currency", "gives str"),
        ("event.currency.matches('(')", "regex"),
    ],
)
def test_types_are_checked_before_anything_is_decided(source: str, words: str) -> None:
    assert words in str(type_problem(compiled(source), WORDS))


@pytest.mark.parametrize(
    "source", ["amount / score > 1", "lists.blocked", "event.present && event.hour % 2 == 0", "true"]
)
def test_a_sound_expression_has_no_type_problem(source: str) -> None:
    assert type_problem(compiled(source), WORDS) is None
