"""A steady load of reads: request n is due at its own moment and counts from it, however late it was sent."""

import http.client
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit


class Reads(NamedTuple):
    """Seconds of each answer from the moment in which its request was due, and bytes of an answer."""

    seconds: list[float]
    average_bytes: int
    late_at_most: float
    """Seconds by which the generator itself was behind while its connection was free."""


def read_steadily(  # noqa: PLR0917 - a process's arguments
    url: str, token: str, paths: Sequence[str], per_second: float, seconds: float, connections: int
) -> Reads:
    """Read `paths` in turn at a steady rate over kept-open connections, with a bearer token.

    Raises RuntimeError when an answer is not 200.
    """
    count = round(per_second * seconds)
    taken, sizes, late = [0.0] * count, [0] * connections, [0.0] * connections
    problems: list[str] = []
    headers = {"Authorization": f"Bearer {token}"}
    start = time.monotonic() + 0.2

    def work(own: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        try:
            for number in range(own, count, connections):
                due = start + number / per_second
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                    late[own] = max(late[own], time.monotonic() - due)
                connection.request("GET", paths[number % len(paths)], headers=headers)
                answer = connection.getresponse()
                sizes[own] += len(answer.read())
                taken[number] = time.monotonic() - due
                if answer.status != http.client.OK:
                    problems.append(f"{paths[number % len(paths)]}: {answer.status}")
                    return
        except OSError as error:
            problems.append(f"{url}: {error}")
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(own,), daemon=True) for own in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise RuntimeError(f"{len(problems)} readers gave up: {problems[0]}")
    return Reads(taken, round(sum(sizes) / count), max(late))
