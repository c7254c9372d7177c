"""The chart as data and text; helm itself is not needed, so nothing here renders it."""

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
HELM = ROOT / "helm"
TEMPLATES = sorted((HELM / "templates").iterdir())


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(name, str(ROOT / "scripts" / name))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def values() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((HELM / "values.yaml").read_text("utf-8"))
    return content


def test_the_values_are_what_their_sources_say() -> None:
    assert (HELM / "values.yaml").read_text("utf-8") == script("helm_values").values_text()


def test_every_service_has_an_entry_and_no_other() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
    assert set(values()["services"]) == folders


def test_a_stage_is_never_run_twice_by_the_chart() -> None:
    for name in ("ingestion_gate", "flow_meter"):
        service = values()["services"][name]
        assert (service["replicas"], service["strategy"], service["disruptionsAllowed"]) == (1, "Recreate", 0)
        assert service["disk"]


def test_secrets_are_names_and_no_value_looks_like_one() -> None:
    from sluice_kit.artifacts.sensitive import sensitive_findings

    for path in (HELM / "values.yaml", HELM / "services.yaml", *TEMPLATES):
        assert not sensitive_findings(path.read_bytes()), path


def test_a_principal_that_does_not_exist_is_named(tmp_path: Path) -> None:
    helm_values = script("helm_values")
    for folder in ("helm", "contracts", "services/meter"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "services/meter/__main__.py").touch()
    (tmp_path / "contracts/principals.yaml").write_text("meter: {kind: service}\n")
    (tmp_path / "helm/services.yaml").write_text(
        "meter: {principals: [metre], cpu: '1', memory: 1Gi, replicas: 1}\n"
    )
    with pytest.raises(helm_values.TableError, match=r"meter wants \['metre'\]"):
        helm_values.values_text(tmp_path)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_blocks_of_a_template_are_closed(template: Path) -> None:
    text = template.read_text("utf-8")
    assert "{{" not in re.sub(r"\{\{.*?\}\}", "", text)
    opened = re.findall(r"\{\{-?\s*(?:if|range|with|define)\b", text)
    closed = re.findall(r"\{\{-?\s*end\b", text)
    assert len(opened) == len(closed)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_value_that_a_template_asks_for_is_there(template: Path) -> None:
    text = template.read_text("utf-8")
    for path in re.findall(r"\.Values\.([A-Za-z.]+)", text):
        found: Any = values()
        for part in path.split("."):
            assert part in found, path
            found = found[part]
    for name in re.findall(r"\$its\.([A-Za-z]+)", text):
        assert all(name in service for service in values()["services"].values()), name


def test_what_remains_of_a_template_without_its_actions_is_yaml() -> None:
    """Control lines out, values in: enough to see wrong indentation and missing colons."""
    for template in TEMPLATES:
        if template.suffix != ".yaml":
            continue
        lines = [
            line
            for line in template.read_text("utf-8").splitlines()
            if not re.match(r"\s*\{\{.*\}\}\s*$", line)
        ]
        text = re.sub(r'"[^"\n]*\{\{[^\n]*?\}\}[^"\n]*"', '"x"', "\n".join(lines))
        documents = list(yaml.safe_load_all(re.sub(r"\{\{.*?\}\}", "x", text)))
        assert all(document["kind"] for document in documents if document), template
