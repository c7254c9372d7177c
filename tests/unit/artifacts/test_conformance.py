from pathlib import Path
from typing import Any

import pytest

from sluice_kit.artifacts import open_store
from sluice_kit.artifacts.conformance import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_local_folder(check: Any, tmp_path: Path) -> None:
    check(open_store(tmp_path / "root"))
