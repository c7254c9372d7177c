"""local, dev and prod differ in wiring alone, and all three load."""

import os
import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
import yaml

from sluice_kit.artifacts.sensitive import sensitive_findings
from sluice_kit.config import Wiring, WiringError, load_wiring

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / "deploy" / "environments"
RUNGS = ("local", "dev", "prod")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)


def example(rung: str) -> Wiring:
    return load_wiring(ENVIRONMENTS / rung / "wiring.example.yaml")


@pytest.mark.parametrize("rung", RUNGS)
def test_an_example_loads_and_says_its_own_name(rung: str) -> None:
    wiring = example(rung)
    assert (wiring.profile, wiring.environment) == (rung, rung)


@pytest.mark.parametrize("rung", RUNGS)
def test_an_example_holds_no_secret_and_no_policy(rung: str) -> None:
    content = (ENVIRONMENTS / rung / "wiring.example.yaml").read_bytes()
    assert not sensitive_findings(content)
    assert not {"revision", "limits", "publishers", "speed"} & set(yaml.safe_load(content))


def test_dev_and_prod_are_wired_alike_but_for_names() -> None:
    def shape(rung: str) -> str:
        text = (ENVIRONMENTS / rung / "wiring.example.yaml").read_text("utf-8")
        return re.sub(rf"\b{rung}\b", "RUNG", text)

    assert shape("dev") == shape("prod")


def test_a_key_of_policy_in_wiring_is_refused_by_name(tmp_path: Path) -> None:
    text = (ENVIRONMENTS / "local" / "wiring.example.yaml").read_text("utf-8")
    (tmp_path / "wiring.yaml").write_text(text + "speed: 60\n")
    with pytest.raises(WiringError, match="speed"):
        load_wiring(tmp_path / "wiring.yaml")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_KAFKA__BOOTSTRAP_SERVERS", "elsewhere:9092")
    assert example("dev").kafka.bootstrap_servers == "elsewhere:9092"
    assert example("dev").kafka.security_protocol == "SASL_SSL"


def test_the_schema_is_that_of_the_model() -> None:
    loader = SourceFileLoader("wiring_schema", str(ROOT / "scripts" / "wiring_schema"))
    spec = spec_from_loader("wiring_schema", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    assert (ENVIRONMENTS / "wiring.schema.json").read_text("utf-8") == module.schema_text()
