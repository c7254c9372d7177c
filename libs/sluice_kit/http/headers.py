"""Headers every service understands: scope selectors and the idempotency key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header, Request

from sluice_kit.http.problems import ProblemError

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", re.ASCII)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data a request is about and which deployment it means."""

    tenant: str
    environment: str
    region: str


def scope_of(
    request: Request,
    tenant: Annotated[str, Header(alias="Sluice-Tenant")] = "default",
    environment: Annotated[str | None, Header(alias="Sluice-Environment")] = None,
    region: Annotated[str | None, Header(alias="Sluice-Region")] = None,
) -> Scope:
    """Read the scope selectors; a request meant for another environment or region is refused (421)."""
    here: Scope = request.app.state.scope
    if _ID.fullmatch(tenant) is None:
        raise ProblemError(
            400,
            "INVALID_TENANT",
            f"Sluice-Tenant {tenant!r} is not an id",
            action="Use letters, digits and _.:- only.",
        )
    for header, asked, actual in (
        ("Sluice-Environment", environment, here.environment),
        ("Sluice-Region", region, here.region),
    ):
        if asked is not None and asked != actual:
            raise ProblemError(
                421,
                "WRONG_SCOPE",
                f"{header} asks for {asked!r}, this service runs in {actual!r}",
                action="Ask the service of that environment and region, or leave the header out.",
            )
    return Scope(tenant, here.environment, here.region)


def idempotency_key_of(key: Annotated[str | None, Header(alias="Idempotency-Key")] = None) -> str:
    """Read the mandatory ``Idempotency-Key`` of a mutating POST (1 to 255 visible ASCII characters)."""
    if key is None or _KEY.fullmatch(key) is None:
        raise ProblemError(
            400,
            "IDEMPOTENCY_KEY_REQUIRED",
            "the Idempotency-Key header is missing or not 1 to 255 visible ASCII characters",
            action="Choose a key for this intent (a UUID will do) and send it with every retry.",
        )
    return key


ScopeHeaders = Annotated[Scope, Depends(scope_of)]
IdempotencyKey = Annotated[str, Depends(idempotency_key_of)]
