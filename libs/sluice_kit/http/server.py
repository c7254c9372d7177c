"""Serving an app: in the main event loop, in a thread, or beside a stage that works in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Self

import uvicorn
from fastapi import FastAPI

from sluice_kit.telemetry import Health, get_logger

_log = get_logger("http")
_DRAIN_SECONDS = 5
_TICK_SECONDS = 1.0
"""How often answers get a new date."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: who owns the process owns the signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Finish open requests and return."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Tick as uvicorn does, but not ten times a second: a stage steps in another thread.

        Each tick takes the interpreter from it, and a process may serve many apps.
        """
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _TICK_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then say so."""
        await super().startup(sockets)
        if self.started:
            self.answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets (call it in the main thread's running loop)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    stop: asyncio.Event | None = None,
    on_bound: Callable[[int], None] | None = None,
) -> None:
    """Serve until ``stop`` is set (by default by SIGTERM or SIGINT), then finish open requests (at most 5 s).

    ``on_bound`` gets the real port once requests are answered (useful with port 0).
    Raises OSError when the address is taken, RuntimeError when the app's lifespan fails to start.
    """
    stop = stop if stop is not None else stop_on_signals()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=512) as listener:
        # Connections inherit it. asyncio sets it for sockets that name their protocol, which these do not;
        # without it a kept-open connection waits 40 ms for the body behind the headers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound: int = listener.getsockname()[1]
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=_DRAIN_SECONDS
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        answering = asyncio.create_task(server.answering.wait())
        try:
            await asyncio.wait({serving, answering}, return_when=asyncio.FIRST_COMPLETED)
            if server.started:
                _log.info("listening", host=host, port=bound)
                if on_bound is not None:
                    on_bound(bound)
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            answering.cancel()
            server.end()
            await serving
        if not server.started:
            raise RuntimeError("the HTTP app failed to start; the log has the reason")


class ThreadedServer:
    """An app served from a thread of its own; a context manager. ``port`` is known after start."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app, self.host, self.port = app, host, port
        self._up = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> Self:
        """Return once requests are answered. Raises what kept the server from starting."""
        self._thread.start()
        self._up.wait()
        if self._error is not None:
            raise self._error
        return self

    def stop(self) -> None:
        """Finish open requests and stop."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed already
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that called start
            self._error = error
        finally:
            self._up.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await serve(self._app, self.host, self.port, stop=self._stop, on_bound=self._bound)

    def _bound(self, port: int) -> None:
        self.port = port
        self._up.set()


def run_beside(
    app: FastAPI,
    work: Callable[[threading.Event], None],
    *,
    health: Health,
    host: str = "127.0.0.1",
    port: int = 0,
    on_bound: Callable[[int], None] | None = None,
) -> None:
    """Run ``work(stop)`` in a worker thread and serve ``app`` in the main thread until the work returns.

    SIGTERM or SIGINT set ``stop`` and mark the service as draining; HTTP answers until the work has ended.
    Whatever the work raises is raised here, after HTTP has stopped.
    """

    async def serving_until(stop: asyncio.Event) -> None:
        await serve(app, host, port, stop=stop, on_bound=on_bound)

    asyncio.run(_beside(serving_until, work, health))


async def _beside(
    serving_until: Callable[[asyncio.Event], Coroutine[None, None, None]],
    work: Callable[[threading.Event], None],
    health: Health,
) -> None:
    asked = stop_on_signals()
    halt, stop_http = threading.Event(), asyncio.Event()
    serving = asyncio.create_task(serving_until(stop_http))
    working = asyncio.create_task(asyncio.to_thread(work, halt))
    asking = asyncio.create_task(asked.wait())
    await asyncio.wait({serving, working, asking}, return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    health.draining()
    halt.set()
    try:
        await working
    finally:
        stop_http.set()
        await serving
