"""A service made by scripts/new_service is clean and works before a line of it was changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | variables,
    )


def new_service(name: str, root: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, str(ROOT / "scripts" / "new_service"), name, "--root", str(root), cwd=root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    (root / "services").mkdir()
    (root / "services" / "__init__.py").write_text('"""Services."""\n', encoding="utf-8")
    for sources in ("contracts", "libs"):  # where ruff sees that these imports are first party
        (root / sources).symlink_to(ROOT / sources)
    done = new_service("device_turnover", root)
    assert done.returncode == 0, done.stderr
    assert "contracts/topics/basis.device_turnover.yaml" in done.stdout
    return root


def test_it_passes_ruff(made: Path) -> None:
    config = str(ROOT / "pyproject.toml")
    for command in (["check"], ["format", "--check"]):
        done = run(
            str(BIN / "ruff"), *command, "--no-cache", "--config", config, "services", "tests", cwd=made
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_passes_mypy_strict(made: Path) -> None:
    done = run(
        str(BIN / "mypy"),
        "--strict",
        "--explicit-package-bases",
        "--namespace-packages",
        "--follow-imports=silent",
        "--ignore-missing-imports",
        "services",
        cwd=made,
        MYPYPATH=os.pathsep.join(map(str, (ROOT / "contracts", ROOT / "libs"))),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_tests_pass(made: Path) -> None:
    path = os.pathsep.join(map(str, (made, ROOT / "contracts", ROOT / "libs")))
    done = run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        "tests",
        cwd=made,
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_it_is_made_in_the_shape_of_the_others(made: Path) -> None:
    for name in ("flow_meter", "degrade_ladder", "entity_graph"):
        example = {path.name for path in (ROOT / "services" / name).iterdir() if path.is_file()}
        assert {
            path.name for path in (made / "services" / "device_turnover").iterdir() if path.is_file()
        } <= example


@pytest.mark.parametrize(
    ("name", "reason"), [("Device-Turnover", "no name of a service"), ("device_turnover", "is there already")]
)
def test_what_cannot_be_made_is_refused_with_the_reason(made: Path, name: str, reason: str) -> None:
    done = new_service(name, made)
    assert done.returncode == 1
    assert reason in done.stderr
