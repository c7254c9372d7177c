"""Machine code needs no place to be kept in."""

import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = """
from sluice_kit.compiled import compiled

def twice(number):
    return 2 * number

twice.__code__ = twice.__code__.replace(co_filename="/nowhere/loops.py")
made = compiled(twice)
assert made(21) == 42
assert made.nopython_signatures
"""


def test_where_nothing_can_be_kept_a_function_is_compiled_all_the_same(tmp_path: Path) -> None:
    taken = tmp_path / "a-file"
    taken.touch()
    places = {"NUMBA_CACHE_DIR": str(taken / "below"), "HOME": str(taken), "XDG_CACHE_HOME": str(taken)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=os.environ | places, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
