"""What ``Contract.check`` asks of single fields, as data: for readers that check whole columns at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluice_contracts.codec import Contract
from sluice_contracts.generated.rules import RULES


@dataclass(frozen=True, slots=True)
class FieldRules:
    """Rules of one field; what is None or empty is not asked.

    Texts: ``pattern`` matches from end to end, the text is one of ``values``, its length in characters is
    from ``min_length`` to ``max_length``. Numbers: ``minimum`` to ``maximum``, ends included.
    """

    pattern: str | None = None
    values: tuple[str, ...] = ()
    min_length: int = 0
    max_length: int | None = None
    minimum: int | None = None
    maximum: int | None = None


def field_rules(contract: Contract) -> Mapping[str, FieldRules]:
    """Dotted path to rules, for the ruled fields that every event has once.

    What stands in a list, in a map or in a record that may be null is left out.
    """
    ruled = RULES[contract.event_type, contract.version]
    return {path: FieldRules(**rules) for path, rules in ruled.items()}
