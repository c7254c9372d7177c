"""Dashboard and alerts speak of metrics that services export, and of pages that exist."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from sluice_kit.telemetry import MetricFamilies

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "deploy" / "dashboards" / "ingress.json").read_text("utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy" / "alerts" / "ingress.yaml").read_text("utf-8"))


def exported() -> set[str]:
    """Names as they stand in queries: a histogram is its buckets, count and sum."""
    registry = CollectorRegistry()
    MetricFamilies(registry)
    names = set()
    for family in registry.collect():
        if family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
        else:
            names.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return names


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bsluice_[a-z_]+", expression))


def test_every_panel_asks_for_exported_metrics() -> None:
    targets: list[dict[str, Any]] = [t for panel in DASHBOARD["panels"] for t in panel.get("targets", [])]
    assert len(targets) > 10
    for target in targets:
        assert asked(target["expr"]) <= exported(), target["expr"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))


def test_every_alert_asks_for_exported_metrics_and_says_what_to_do() -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert asked(rule["expr"]) <= exported(), rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        action = rule["annotations"]["action"]
        for page in re.findall(r"docs/[a-z/-]+\.md", action):
            assert (ROOT / page).is_file(), page
