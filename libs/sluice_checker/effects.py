"""What was done by their own word: the log of a webhook's receiver, the files of the log effector."""

from collections.abc import Iterable
from pathlib import Path

import orjson

from sluice_checker.bus_reader import CheckerError
from sluice_checker.loop_log import key_digest


def read_effects(path: Path) -> bytearray:
    """Digests of the keys in a receiver's effect log (NDJSON, a line an effect, its `key`), in order.

    Raises CheckerError naming the file and the line that is none.
    """
    return _keys([path], "key")


def read_logged_effects(folder: Path) -> bytearray:
    """Digests of the keys in the log effector's `effects-*.ndjson` (its `idempotency_key`), in order.

    Raises CheckerError for a folder without any, and naming the file and the line that is none.
    """
    files = sorted(folder.glob("effects-*.ndjson"))
    if not files:
        raise CheckerError(f"{folder} holds no effects-*.ndjson: it is not the folder of an effect log")
    return _keys(files, "idempotency_key")


def _keys(files: Iterable[Path], name: str) -> bytearray:
    column = bytearray()
    for path in files:
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    column += _key(line, name, f"effect log {path}, line {number}")
        except OSError as error:
            raise CheckerError(f"effect log {path} cannot be read: {error}") from error
    return column


def _key(line: bytes, name: str, where: str) -> bytes:
    try:
        return key_digest(orjson.loads(line)[name])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CheckerError(f"{where}: no effect with a {name}: {error}") from error
