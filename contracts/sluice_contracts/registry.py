"""Puts the schemas into a Confluent-compatible registry, under the same subjects and with the pinned ids.

A registry that knows import mode (Confluent, Redpanda) is told the ids. One that does not (Apicurio) gives
ids in order, so an empty one is filled in id order; what would end in another id is refused before it is
written.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from sluice_contracts.codec import CONTRACTS, Contract
from sluice_contracts.topics import TOPICS

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_TIMEOUT_SECONDS = 15
_ADVICE = "Use an empty registry for these contracts alone, or one that takes ids (Confluent import mode)."


class RegistryError(Exception):
    """The registry cannot be reached, or would not hold our schemas under our ids; the message says which."""


@dataclass(frozen=True, slots=True)
class Published:
    """One subject version; ``state`` is ``present`` (it was there), ``registered`` or ``missing``."""

    subject: str
    version: int
    schema_id: int
    state: str


class Registry:
    """A client of the parts of the Confluent API that publishing needs."""

    def __init__(self, url: str, credentials: str | None = None) -> None:
        """Address the registry at ``url``; ``credentials`` is ``user:password`` for basic authentication."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise RegistryError(f"{url!r} is not an http(s) address of a registry")
        if "@" in parts.netloc:
            raise RegistryError("the registry address must not hold credentials; give them as a secret")
        self.url = urlunsplit(parts).rstrip("/")
        self.headers = {"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE}
        if credentials:
            self.headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """HTTP status and JSON answer; raises RegistryError when there is no answer at all."""
        data = None if body is None else json.dumps(body).encode()
        address = self.url + path
        request = Request(address, data=data, headers=self.headers, method=method)  # noqa: S310 - checked above
        try:
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - checked above
                return answer.status, _json(answer.read())
        except HTTPError as error:
            with error:
                return error.code, _json(error.read())
        except (URLError, OSError, TimeoutError) as error:
            raise RegistryError(f"no answer from the registry at {self.url}: {error}") from error

    def expect(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer of a call that must succeed; raises RegistryError with the registry's words."""
        status, answer = self.call(method, path, body)
        if status != 200:
            said = answer.get("message", answer) if isinstance(answer, dict) else answer
            raise RegistryError(f"{method} {self.url}{path} answered {status}: {said}")
        return answer


def publish(registry: Registry, *, plan_only: bool = False) -> tuple[Published, ...]:
    """Register every schema that is missing, in id order; a second call changes nothing.

    ``plan_only`` writes nothing. Raises RegistryError, before anything is written where that can be known.
    """
    ordered = sorted(CONTRACTS.values(), key=lambda contract: contract.schema_id)
    registry.expect("GET", "/subjects")
    present = {contract.schema_id: _is_present(registry, contract) for contract in ordered}
    results = []
    for contract in ordered:
        state = "present"
        if not present[contract.schema_id]:
            state = "missing" if plan_only else "registered"
            if not plan_only:
                _register(registry, contract)
                _set_compatibility(registry, contract)
        results.append(Published(contract.name, contract.version, contract.schema_id, state))
    return tuple(results)


def _is_present(registry: Registry, contract: Contract) -> bool:
    """True when the subject has the schema under the pinned id; RegistryError when contradicted.

    Schemas are compared as JSON: some registries tell texts apart that differ in spaces alone.
    """
    what = f"{contract.name} version {contract.version}"
    subject = quote(contract.name, safe="")
    status, answer = registry.call("GET", f"/subjects/{subject}/versions/{contract.version}")
    if status == 200:
        if json.loads(answer["schema"]) != contract.schema:
            raise RegistryError(f"the registry at {registry.url} holds another schema as {what}. {_ADVICE}")
        if answer["id"] != contract.schema_id:
            raise RegistryError(
                f"the registry at {registry.url} holds {what} under id {answer['id']}, the lock file says "
                f"{contract.schema_id}. {_ADVICE}"
            )
        return True
    status, answer = registry.call("GET", f"/schemas/ids/{contract.schema_id}")
    if status == 200 and json.loads(answer["schema"]) != contract.schema:
        raise RegistryError(
            f"id {contract.schema_id} of {what} already names another schema in the registry at "
            f"{registry.url}; nothing was written. {_ADVICE}"
        )
    return False


def _register(registry: Registry, contract: Contract) -> None:
    subject = quote(contract.name, safe="")
    body: dict[str, Any] = {"schema": _text(contract), "schemaType": "AVRO"}
    importing, _ = registry.call("PUT", f"/mode/{subject}?force=true", {"mode": "IMPORT"})
    if importing == 200:
        try:
            body |= {"id": contract.schema_id, "version": contract.version}
            answer = registry.expect("POST", f"/subjects/{subject}/versions", body)
        finally:
            registry.expect("PUT", f"/mode/{subject}?force=true", {"mode": "READWRITE"})
    else:
        _refuse_gap(registry, contract)
        answer = registry.expect("POST", f"/subjects/{subject}/versions", body)
    if answer["id"] != contract.schema_id:
        raise RegistryError(
            f"the registry at {registry.url} gave {contract.name} version {contract.version} the id "
            f"{answer['id']}, the lock file says {contract.schema_id}: it gives ids in order, and other "
            f"schemas had some of them. {_ADVICE}"
        )


def _refuse_gap(registry: Registry, contract: Contract) -> None:
    """Where the registry gives ids in order, the id before ours must be taken, and ours must not be."""
    before = contract.schema_id - 1
    if before and registry.call("GET", f"/schemas/ids/{before}")[0] != 200:
        raise RegistryError(
            f"the registry at {registry.url} gives ids in order, and id {before} is not taken yet: "
            f"{contract.name} version {contract.version} could not get its id {contract.schema_id}. {_ADVICE}"
        )


def _set_compatibility(registry: Registry, contract: Contract) -> None:
    carriers = [topic for topic in TOPICS.values() if contract.event_type in topic.event_types]
    levels = {topic.compatibility for topic in carriers}
    level = "NONE" if "NONE" in levels else "BACKWARD_TRANSITIVE"
    registry.expect("PUT", f"/config/{quote(contract.name, safe='')}", {"compatibility": level})


def _text(contract: Contract) -> str:
    return json.dumps(contract.schema, separators=(",", ":"))


def _json(content: bytes) -> Any:
    try:
        return json.loads(content or b"null")
    except ValueError:
        return content.decode("utf-8", "replace")
