"""``sluice-contracts`` stands alone: without the repository, and with nothing installed but orjson."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import orjson
import pytest

from sluice_contracts_codegen.repository import REPOSITORY

ALONE = """
import importlib, pkgutil, sys
allowed = set(sys.argv[1].split(","))
example = open(sys.argv[2], "rb").read()
import sluice_contracts
for module in pkgutil.walk_packages(sluice_contracts.__path__, "sluice_contracts."):
    importlib.import_module(module.name)
from sluice_contracts.records import PaymentV1
decoded = sluice_contracts.decode(example)
record = sluice_contracts.to_record(decoded)
assert isinstance(record, PaymentV1) and record.encode() == example
assert sluice_contracts.check(decoded.fields) == ()
assert len(sluice_contracts.payload_hash(decoded.fields)) == 32
assert sluice_contracts.TOPICS["traffic.payment"].partitions == 4
foreign = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - allowed
foreign = {name for name in foreign if not name.startswith("_")}
print(sorted(foreign))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with what the wheel would put in place, and orjson."""
    package = tmp_path / "sluice_contracts"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "contracts" / "sluice_contracts", package, ignore=skip)
    shutil.copytree(Path(str(orjson.__file__)).parent, tmp_path / "orjson", ignore=skip)
    return tmp_path


def test_the_package_works_alone(installed: Path) -> None:
    example = REPOSITORY / "contracts/examples/payment.v1/full.bin"
    run = f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv = ['-', *sys.argv[1:]]\n{ALONE}"
    command = [sys.executable, "-I", "-S", "-c", run, "sluice_contracts,orjson", str(example)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_distribution_says_what_it_needs() -> None:
    project = tomllib.loads((REPOSITORY / "contracts" / "pyproject.toml").read_text())
    names = [re.split(r"[^a-z0-9-]", need)[0] for need in project["project"]["dependencies"]]
    assert names == ["orjson"]
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["sluice_contracts"]


def test_the_example_of_the_readme_runs() -> None:
    text = (REPOSITORY / "contracts" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "payment 1250\n"), done.stderr
