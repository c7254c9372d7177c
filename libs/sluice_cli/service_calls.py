"""Calls to the services' REST interfaces, for the commands and the demo."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from sluice_kit.config import load_wiring
from sluice_kit.http.calling import call
from sluice_kit.http.endpoint import read_endpoint

OPERATOR_TOKEN: Final = "token_operator"
SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A service with a REST interface: the name it runs under, and what people call it."""

    name: str
    called: str


GATE: Final = Service("ingestion_gate", "the gate")
LADDER: Final = Service("degrade_ladder", "the degrade ladder")
SCENARIO_RUNNER: Final = Service("scenario_runner", "the Scenario Runner")
ENTITY_GRAPH: Final = Service("entity_graph", "the entity graph")
DECISION_FABRIC: Final = Service("decision_fabric", "the decision fabric")
DECISION_LOG: Final = Service("decision_log", "the decision log")
ACTION_LAYER: Final = Service("action_layer", "the action layer")
STREAM_PRODUCER: Final = Service("world_stream_producer", "the World Stream Producer")
ONLINE_FEATURES: Final = Service("online_features", "the features stage")


class CallError(Exception):
    """A call came to nothing; the message says why."""


class RefusedError(CallError):
    """The service answered with a problem; `status` is the HTTP status where there was one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(CallError):
    """The service did not answer."""


class ServiceCalls:
    """REST calls to one service, as an operator, where given for one tenant.

    `url` is looked up on this host where it is not given: UnreachableError when the service never started
    here. The token is `SLUICE_OPERATOR_TOKEN`, else the secret `token_operator` of the wiring.
    """

    def __init__(
        self,
        service: Service,
        wiring: Path,
        url: str | None = None,
        *,
        tenant: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._service, self._wiring_file, self._seconds = service, wiring, seconds
        self._base = (url or _endpoint(service, wiring)).rstrip("/")
        self._headers = {} if tenant is None else {"Sluice-Tenant": tenant}

    def get(self, path: str, **params: Any) -> Any:
        """JSON of a GET; parameters that are None are left out.

        Raises RefusedError, UnreachableError, SecretMissing.
        """
        given = {name: value for name, value in params.items() if value is not None}
        return self._call("GET", path, self._headers, params=given)

    def post(self, path: str, body: Any = None, *, key: str | None = None, **params: Any) -> Any:
        """JSON of a POST; without a `key` it is a request of its own.

        Raises RefusedError, UnreachableError, SecretMissing.
        """
        headers = self._headers | {"Idempotency-Key": key or str(uuid.uuid4())}
        return self._call("POST", path, headers, json=body, params=params)

    def _token(self) -> str:
        token = os.environ.get("SLUICE_OPERATOR_TOKEN")
        return token or load_wiring(self._wiring_file).secret_source.get(OPERATOR_TOKEN)

    def _call(self, method: str, path: str, headers: dict[str, str], **content: Any) -> Any:
        headers = headers | {"Authorization": f"Bearer {self._token()}"}
        try:
            response = call(method, self._base + path, headers=headers, timeout=self._seconds, **content)
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"{self._service.called} does not answer: {error}. Is it running?"
            ) from error
        if response.is_error:
            raise RefusedError(_problem(response), response.status_code)
        return orjson.loads(response.content)


def _endpoint(service: Service, wiring: Path) -> str:
    try:
        return read_endpoint(load_wiring(wiring).state_dir, service.name)
    except LookupError as error:
        raise UnreachableError(str(error)) from error


def _problem(response: httpx.Response) -> str:
    try:
        problem = orjson.loads(response.content)
        return f"{problem['code']}: {problem['detail']}. {problem['action']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}: {response.text[:200]}"
