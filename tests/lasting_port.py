"""A port for a server that a test stops and starts again."""

import random

from sluice_substrate.ports import is_free


def lasting_port() -> int:
    """A free port that stays free: Linux gives those from 32,768 on to whoever opens a connection."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        if is_free(port):
            return port
    raise AssertionError("no port between 20,000 and 32,000 is free")
