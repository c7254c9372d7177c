"""The packages of the extra `local`: whoever only talks to what runs elsewhere, an image say, has none."""

import importlib
from typing import Any

from sluice_substrate.errors import StartFailed


def local_package(name: str) -> Any:
    """A module of the extra, or one of ours that rests on it, imported now. Raises StartFailed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StartFailed(
            f"a stack on this machine needs the Python package {error.name}, which is not installed: "
            "install the extra `local` (scripts/bootstrap does), or work with a stack that runs elsewhere "
            "by its wiring file (--wiring)"
        ) from error
