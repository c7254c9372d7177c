"""Free loopback ports: last run's are kept when they still are free, so that bookmarks survive."""

import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether this process could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.5):
            return True
    except OSError:
        return False


def choose(wanted: Iterable[int | None]) -> list[int]:
    """One free port for each wish, all different; a wish that is taken is replaced by a free one."""
    chosen: list[int] = []
    held: list[socket.socket] = []
    try:
        for wish in wanted:
            if wish and wish not in chosen and is_free(wish):
                chosen.append(wish)
                continue
            listener = socket.socket()
            held.append(listener)  # held until all are chosen, so that none is handed out twice
            listener.bind((LOOPBACK, 0))
            chosen.append(int(listener.getsockname()[1]))
    finally:
        for listener in held:
            listener.close()
    return chosen
