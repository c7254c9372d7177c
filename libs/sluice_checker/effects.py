"""The receiver's own word: what a webhook target had done, by its effect log."""

from collections.abc import Iterable
from pathlib import Path

import orjson

from sluice_checker.bus_reader import CheckerError
from sluice_checker.loop_log import key_digest


def read_effects(path: Path) -> bytearray:
    """Digests of the keys of an effect log (NDJSON, a line an effect, its `key`), in order.

    Raises CheckerError naming the file and the line that is none.
    """
    try:
        lines: Iterable[bytes] = path.read_bytes().splitlines()
    except OSError as error:
        raise CheckerError(f"effect log {path} cannot be read: {error}") from error
    column = bytearray()
    for number, line in enumerate(lines, 1):
        try:
            column += key_digest(orjson.loads(line)["key"])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise CheckerError(f"effect log {path}, line {number}: no effect with a key: {error}") from error
    return column
