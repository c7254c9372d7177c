"""What scripts/bootstrap leaves in the virtual environment."""

import runpy
import sys
from pathlib import Path


def test_work_processes_can_import_the_command() -> None:
    """A spawned process imports the main file of its parent, which must not run the command once more."""
    loaded = runpy.run_path(str(Path(sys.prefix) / "bin" / "sluice"), run_name="__mp_main__")
    assert callable(loaded["main"])
