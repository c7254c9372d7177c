"""The chart as helm renders it; without helm on the PATH only `test_helm_values.py` looks at it."""

import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WIRINGS = sorted((ROOT / "deploy/environments").glob("*/wiring.example.yaml"))
HELM = shutil.which("helm")
pytestmark = pytest.mark.skipif(
    HELM is None, reason="helm is not on the PATH (go install helm.sh/helm/v3/cmd/helm@latest builds it)"
)


def helm(command: str, wiring: Path, *settings: str) -> str:
    where = ["sluice", "helm"] if command == "template" else ["helm"]
    given = [f"--set={setting}" for setting in settings]
    done = subprocess.run(
        [str(HELM), command, *where, f"--set-file=wiring={wiring}", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rendered(wiring: Path, *settings: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name."""
    objects = list(yaml.safe_load_all(helm("template", wiring, *settings)))
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects if one}
    assert len(found) == sum(map(bool, objects)), "two objects have one name"
    return found


def pods(objects: Mapping[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    return {
        name: one["spec"]["template"]["spec"]
        for (kind, name), one in objects.items()
        if kind in {"Deployment", "Job"}
    }


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda path: path.parent.name)
def test_every_pod_finds_what_it_mounts_and_the_wiring_is_the_file(wiring: Path) -> None:
    helm("lint", wiring)
    objects = rendered(wiring)
    assert objects["ConfigMap", "sluice-wiring"]["data"]["wiring.yaml"].strip() == wiring.read_text().strip()
    for name, pod in pods(objects).items():
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys(), name
        for volume in volumes.values():
            for kind, key in (("ConfigMap", "configMap"), ("PersistentVolumeClaim", "persistentVolumeClaim")):
                if key in volume:
                    assert (kind, volume[key].get("name") or volume[key]["claimName"]) in objects, name


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda path: path.parent.name)
def test_every_pod_starts_a_program_that_is_there(wiring: Path) -> None:
    for name, pod in pods(rendered(wiring)).items():
        command = pod["containers"][0]["command"]
        if command[0] == "python":
            assert find_spec(command[2]) is not None, name
        else:
            assert command[0] == "sluice", name


def test_a_service_that_is_switched_off_leaves_nothing_behind() -> None:
    off = rendered(WIRINGS[0], "services.flow_meter.enabled=false", "topics.apply=false")
    assert not [one for one in off if "flow-meter" in one[1] or one[0] == "Job"]
    assert ("Deployment", "sluice-ingestion-gate") in off
