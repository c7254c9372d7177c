"""Structured logs: one JSON object a line on stderr, the same shape from our code and from libraries."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import Processor

from sluice_kit.telemetry.redaction import redact

_NOISY_LIBRARIES: Final = ("aiokafka", "asyncio", "uvicorn", "httpx", "httpcore", "urllib3")


def configure_logging(
    service: str, *, shard: str | None = None, level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send every log record of this process, also of libraries, to ``stream`` (stderr) as redacted JSON.

    Each line has ``ts`` (UTC, ISO 8601), ``level``, ``event``, ``service``, ``shard`` when there is one, then
    what the call and :func:`bind_context` added (``tenant``, ``run_id``, ``trace_id`` ...). Calling it again
    replaces the configuration.
    """
    out = stream if stream is not None else sys.stderr
    fixed: dict[str, str] = {"service": service} | ({"shard": shard} if shard is not None else {})

    def add_fixed(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in fixed.items():
            event.setdefault(key, value)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_fixed,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _library_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_event, _to_json],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(component: str, **context: Any) -> structlog.stdlib.BoundLogger:
    """Return a logger whose lines carry ``component`` and ``context``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(
        component, component=component, **context
    )
    return logger


def bind_context(**context: str | int | None) -> None:
    """Add fields (tenant, run_id, trace_id ...) to later lines of this task or thread; None is left out."""
    structlog.contextvars.bind_contextvars(
        **{key: value for key, value in context.items() if value is not None}
    )


def clear_context() -> None:
    """Forget what :func:`bind_context` added in this task or thread."""
    structlog.contextvars.clear_contextvars()


def _library_name(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event.setdefault("component", record.name)
    return event


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    redacted: Mapping[str, Any] = redact(event)
    return redacted


def _to_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _configure_for_libraries() -> None:
    """Until the program configures logging, log as libraries do: through ``logging``, never to stdout."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            _redact_event,
            _to_json,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


if not structlog.is_configured():
    _configure_for_libraries()
