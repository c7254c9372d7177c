"""The version of this distribution; a checkout that was not installed says so."""

from importlib.metadata import PackageNotFoundError, version


def sluice_version() -> str:
    """The installed version of `sluice`, or `0+checkout`."""
    try:
        return version("sluice")
    except PackageNotFoundError:
        return "0+checkout"
