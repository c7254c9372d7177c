"""Calls to a service, made one at a time by tools that ask again and again."""

import ssl
from functools import cache
from typing import Any

import httpx


@cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def call(method: str, url: str, **options: Any) -> httpx.Response:
    """`httpx.request`, without loading the certificates of all authorities (20 ms of CPU) for each call.

    Raises httpx.HTTPError.
    """
    return httpx.request(method, url, verify=_trusted(), **options)
