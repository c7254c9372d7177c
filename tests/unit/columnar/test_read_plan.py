"""Which contracts are read by columns, and what their fields ask of numbers."""

from sluice_contracts import CONTRACTS
from sluice_contracts.rules import field_rules
from sluice_kit.columnar.read_plan import NumberField, TextField, plan_reading
from tests.unit.columnar.events import READABLE


def test_contracts_that_are_read_by_columns() -> None:
    assert (
        sorted(key for key, contract in CONTRACTS.items() if plan_reading(contract) is not None) == READABLE
    )


def test_the_rules_of_every_ruled_field_are_in_the_plan() -> None:
    for key in READABLE:
        plan = plan_reading(CONTRACTS[key])
        assert plan is not None
        fields = {field.path: field for field in plan.fields}
        for path, rules in field_rules(CONTRACTS[key]).items():
            field = fields[path]
            if isinstance(field, NumberField):
                assert rules.minimum is None or field.low == rules.minimum
                assert rules.maximum is None or field.high == rules.maximum
            else:
                assert isinstance(field, TextField)
                assert field.constant is None or rules.values == (field.constant,)
        assert fields["seed"] == NumberField("seed", nullable=True, low=-(2**63), high=2**63 - 1)
        assert isinstance(fields["event_type"], TextField)
        assert fields["event_type"].constant == key[0]
