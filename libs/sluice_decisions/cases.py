"""What is decided about, and what comes out. Times are microseconds since 1970 UTC, money minor units.

There is one of each a payment, so they are named tuples: made in a quarter of a frozen dataclass's time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sluice_decisions.outcomes import Mode, Outcome
from sluice_decisions.postures import Posture

FieldValue = str | int | bool


class SnapshotView(NamedTuple):
    """The part of a feature snapshot that decides.

    `values` run in the order of the feature set, each at its scale; positions in `missing` are not known
    and stand as 0 in `values`. `degraded`: an input of the snapshot was not there in time.
    """

    values: Sequence[int]
    missing: Sequence[int]
    feature_set_hash: str
    snapshot_hash: str
    graph_version: int | None = None
    degraded: bool = False


class Case(NamedTuple):
    """An event that is due. `snapshot` None: it was not there at the `deadline`.

    `fields` are the event's own values by the names under which the policy's rules read them.
    """

    event_id: str
    amount: int
    fields: Mapping[str, FieldValue]
    snapshot: SnapshotView | None
    deadline: int | None = None


class Attribution(NamedTuple):
    """How much a feature moved the raw score (log-odds), in millionths; `value` is 0 where it was missing."""

    feature: str
    value: int
    contribution_ppm: int


class Decision(NamedTuple):
    """What was decided about an event, and from what. Equal inputs give equal decisions, field by field."""

    event_id: str
    outcome: Outcome
    mode: Mode
    reason_codes: tuple[str, ...]
    score_ppm: int | None
    attributions: tuple[Attribution, ...]
    bundle_id: str | None
    bundle_revision: str | None
    bundle_hash: str | None
    policy_revision: str
    snapshot_hash: str | None
    graph_version: int | None
    posture: Posture
    decided_at: int


@dataclass(frozen=True, slots=True)
class RuleFailure:
    """A rule that raised for an event. For logs and metrics; the decision carries RULE_ERROR."""

    event_id: str
    rule_id: str
    message: str


@dataclass(frozen=True, slots=True)
class DecisionBatch:
    """One decision a case, in the order of the cases."""

    decisions: tuple[Decision, ...]
    failures: tuple[RuleFailure, ...] = ()
