"""Snapshots and windows as REST shows them: values with names, scales and units."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from services.online_features.signals import SERVICE
from sluice_contracts import Decoded, decode
from sluice_features import EntityWindows, FeatureSet, FeatureSpec, Scope
from sluice_kit.receipts.views import CoordinateView, moment_text

Fields = Mapping[str, Any]


class FeatureView(BaseModel):
    """A value; divided by `scale` it is in `unit`. null: it is not known."""

    name: str
    value: int | None
    scale: int
    unit: str


class FeatureSetView(BaseModel):
    """Which definition made the values."""

    name: str
    revision: str
    hash: str


class SnapshotView(BaseModel):
    """A snapshot as it stands on its topic.

    `features` and `freshness` are null when the feature set that made it is not among this stage's policy
    files; `values` and `missing` (positions) are always there.
    """

    tenant: str
    run_id: str
    event_id: str
    as_of: str = Field(description="the event's own time, RFC 3339 UTC")
    feature_set: FeatureSetView
    features: list[FeatureView] | None
    freshness: dict[str, int] | None = Field(
        description="microseconds by which each input was behind, -1 where it never spoke"
    )
    values: list[int]
    missing: list[int]
    graph_version: int | None
    graph_basis: str | None
    input_basis: str
    degraded: list[str]
    payment: CoordinateView
    snapshot_hash: str


class WindowsView(BaseModel):
    """What an entity's windows hold as of a moment, after everything that was handed over.

    `complete` is false when what the windows need may have left the state.
    """

    tenant: str
    run_id: str
    entity: str
    key: str
    as_of: str = Field(description="RFC 3339 UTC")
    complete: bool
    feature_set: FeatureSetView
    features: list[FeatureView]
    links: dict[str, str]


def decoded_snapshot(value: bytes) -> Fields:
    """The fields of a snapshot that this stage wrote."""
    found = decode(value)
    if not isinstance(found, Decoded) or found.contract.event_type != "feature_snapshot":
        raise ValueError(f"a record of {SERVICE} is no snapshot: {found}")
    return found.fields


def scope_of(fields: Fields) -> Scope:
    """Whose snapshot it is."""
    return Scope(fields["tenant"], fields["run_id"])


def snapshot_view(fields: Fields, known: Mapping[str, FeatureSet]) -> dict[str, Any]:
    """A snapshot for an answer; `known` are feature sets by fingerprint."""
    feature_set = known.get(fields["feature_set"]["hash"])
    missing = set(fields["missing"])
    shown = dict(fields) | {"as_of": moment_text(fields["as_of"]), "features": None, "freshness": None}
    if feature_set is not None:
        values = enumerate(zip(feature_set.features, fields["values"], strict=True))
        shown["features"] = [_feature(spec, None if at in missing else value) for at, (spec, value) in values]
        shown["freshness"] = dict(zip(feature_set.freshness_names, fields["freshness"], strict=True))
    return shown


def windows_view(windows: EntityWindows, feature_set: FeatureSet, about: Mapping[str, str]) -> dict[str, Any]:
    """An entity's windows for an answer; `about` says whose they are."""
    path = f"/v1/features/{about['entity']}/{about['key']}"
    at = moment_text(windows.as_of)
    return {
        **about,
        "as_of": at,
        "complete": windows.complete,
        "feature_set": feature_set.ref._asdict(),
        "features": [_feature(spec, value) for spec, value in windows.features],
        "links": {"self": f"{path}?tenant={about['tenant']}&run_id={about['run_id']}&as_of={at}"},
    }


def _feature(spec: FeatureSpec, value: int | None) -> dict[str, Any]:
    return {"name": spec.name, "value": value, "scale": spec.scale, "unit": spec.unit}
