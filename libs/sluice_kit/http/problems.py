"""RFC 9457 problem documents: every error says what is wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sluice_kit.telemetry import redact_text

MEDIA_TYPE: Final = "application/problem+json"
_WHAT_TO_DO: Final[Mapping[int, str]] = {
    404: "Check the path and the id; /openapi.json lists what this service serves.",
    405: "Use one of the methods in the Allow header.",
    413: "Send fewer or smaller events in one request.",
    503: "Try again later; /health says what this service waits for.",
}


class ProblemDetail(BaseModel):
    """One wrong thing in a request: ``where`` is a path such as ``body.world.uri``."""

    where: str
    what: str


class Problem(BaseModel):
    """Problem document. ``code`` is stable and meant for programs, ``detail`` and ``action`` for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    action: str
    instance: str
    errors: list[ProblemDetail] = []


class ProblemError(Exception):
    """Raised by a handler to answer with a problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        action: str,
        errors: Sequence[ProblemDetail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status, self.code, self.detail, self.action = status, code, detail, action
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def response(self, instance: str) -> JSONResponse:
        """Render for the request path ``instance``."""
        problem = Problem(
            type=f"urn:sluice:problem:{self.code.lower().replace('_', '-')}",
            title=self.code.replace("_", " ").capitalize(),
            status=self.status,
            code=self.code,
            detail=redact_text(self.detail),
            action=self.action,
            instance=instance,
            errors=list(self.errors),
        )
        return JSONResponse(problem.model_dump(), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def openapi_responses() -> dict[int | str, dict[str, Any]]:
    """Describe errors in OpenAPI: all of them are problem documents, validation errors too."""
    shown = {"model": Problem, "content": {MEDIA_TYPE: {}}}
    return {
        422: {"description": "The request is not valid", **shown},
        "default": {"description": "Error", **shown},
    }


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_crash)


def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return error.response(request.url.path)


def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = [
        ProblemDetail(where=".".join(str(part) for part in item["loc"]), what=item["msg"])
        for item in error.errors()
    ]
    listed = "; ".join(f"{detail.where}: {detail.what}" for detail in details[:5])
    problem = ProblemError(
        422, "INVALID_REQUEST", listed, action="Correct the fields in errors and send again.", errors=details
    )
    return problem.response(request.url.path)


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    action = _WHAT_TO_DO.get(error.status_code, "See the detail.")
    problem = ProblemError(
        error.status_code,
        status.phrase.upper().replace(" ", "_"),
        str(error.detail),
        action=action,
        headers=error.headers,
    )
    return problem.response(request.url.path)


def _on_crash(request: Request, error: Exception) -> JSONResponse:
    problem = ProblemError(
        500,
        "INTERNAL_ERROR",
        f"{type(error).__name__} while handling the request",
        action="The log of this service has the traceback; retry with the same Idempotency-Key.",
    )
    return problem.response(request.url.path)
