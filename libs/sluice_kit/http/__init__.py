"""The HTTP face every service shares: health, metrics, problem documents, scope and idempotency headers."""

from sluice_kit.http.app import build_app
from sluice_kit.http.headers import IdempotencyKey, Scope, ScopeHeaders
from sluice_kit.http.problems import Problem, ProblemDetail, ProblemError
from sluice_kit.http.server import ThreadedServer, run_beside, serve, stop_on_signals

__all__ = [
    "IdempotencyKey",
    "Problem",
    "ProblemDetail",
    "ProblemError",
    "Scope",
    "ScopeHeaders",
    "ThreadedServer",
    "build_app",
    "run_beside",
    "serve",
    "stop_on_signals",
]
