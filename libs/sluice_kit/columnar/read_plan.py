"""What reading a contract's events by columns takes, worked out once: its fields in order, their checks."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from sluice_contracts import Contract
from sluice_contracts.rules import FieldRules, field_rules
from sluice_kit.columnar.errors import UnsupportedFieldError
from sluice_kit.columnar.row_kernel import CONSTANT, EMPTY_LIST, NULLABLE, NUMBER, TEXT, TEXT_LIST
from sluice_kit.columnar.row_reader import RowField
from sluice_kit.columnar.schema_plan import ColumnStep, plan_row
from sluice_kit.columnar.text_checks import TextCheck

PAYLOAD: Final = "payload."
PINS: Final = (
    "schema_version",
    "manifest_fingerprint",
    "tenant",
    "parameter_hash",
    "scenario_id",
    "run_id",
    "seed",
)
"""What stands together in each envelope and is the same for all events of a run."""
_RANGES: Final = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_LONGEST_CONSTANT: Final = 63
_NO_RULES: Final = FieldRules()


@dataclass(frozen=True, slots=True)
class TextField:
    """A string; `constant` where the rules allow one value only."""

    path: str
    nullable: bool
    check: TextCheck
    constant: str | None

    @property
    def row_field(self) -> RowField:
        """How it is read."""
        if self.constant is not None:
            return RowField(self.path, CONSTANT, constant=self.constant)
        return RowField(self.path, TEXT | (NULLABLE * self.nullable), characters=self.check.characters)


@dataclass(frozen=True, slots=True)
class NumberField:
    """An int or a long from `low` to `high`, ends included."""

    path: str
    nullable: bool
    low: int
    high: int

    @property
    def row_field(self) -> RowField:
        """How it is read."""
        return RowField(self.path, NUMBER | (NULLABLE * self.nullable), (self.low, self.high))


@dataclass(frozen=True, slots=True)
class ListField:
    """A list. One of `texts` may have some items; any other has to be empty to be read by columns."""

    path: str
    texts: bool

    @property
    def row_field(self) -> RowField:
        """How it is read."""
        return RowField(self.path, TEXT_LIST if self.texts else EMPTY_LIST)


FieldPlan = TextField | NumberField | ListField


@dataclass(frozen=True, slots=True, eq=False)
class ReadPlan:
    """The fields of one contract in the order in which they are written."""

    contract: Contract
    fields: tuple[FieldPlan, ...]


@cache
def plan_reading(contract: Contract) -> ReadPlan | None:
    """The plan of a contract, None where its events have to be read one by one.

    Read by columns: enveloped events whose fields are strings, ints and longs, also nullable ones, lists,
    and records of those.
    """
    if not contract.enveloped:
        return None
    try:
        steps = plan_row(contract.schema, b"", {}, lists=True)
    except UnsupportedFieldError:
        return None
    rules = field_rules(contract)
    fields = [_field(step, rules.get(step.path, _NO_RULES)) for step in steps if isinstance(step, ColumnStep)]
    known = [field for field in fields if field is not None]
    if len(known) != len(steps) or not _is_envelope(known):
        return None
    return ReadPlan(contract, tuple(known))


def _field(step: ColumnStep, rules: FieldRules) -> FieldPlan | None:
    if step.null_branch not in {b"", b"\x00"}:
        return None
    if step.kind == "string":
        check = _check(rules)
        constant = rules.values[0] if len(rules.values) == 1 and not step.nullable else None
        if constant is not None and not (check.accepts(constant) and len(constant) <= _LONGEST_CONSTANT):
            return None
        return TextField(step.path, step.nullable, check, constant)
    if step.kind in {"texts", "numbers", "list"}:
        return ListField(step.path, step.kind == "texts")
    if step.kind not in _RANGES:
        return None
    low, high = _RANGES[step.kind]
    low = low if rules.minimum is None else max(low, rules.minimum)
    high = high if rules.maximum is None else min(high, rules.maximum)
    return NumberField(step.path, step.nullable, low, high)


@cache
def _check(rules: FieldRules) -> TextCheck:
    """One object for equal rules, so that their columns can be checked together."""
    return TextCheck(rules)


def _is_envelope(fields: list[FieldPlan]) -> bool:
    """Whether the pins stand together and what a payload hash is made of is there."""
    paths = [field.path for field in fields]
    if PINS[0] not in paths:
        return False
    first = paths.index(PINS[0])
    required = {"event_type", "ts_utc"}
    return tuple(paths[first : first + len(PINS)]) == PINS and required < {
        field.path for field in fields if not isinstance(field, ListField) and not field.nullable
    }
