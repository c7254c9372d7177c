"""Profile `external`: a user's own cluster. Nothing is started; what the wiring names must answer."""

import asyncio
import urllib.parse
from dataclasses import dataclass

import asyncpg
import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sluice_contracts.topics import PRINCIPALS
from sluice_kit.config import SecretMissing, Wiring
from sluice_kit.kafka import ClientConfig, client_config
from sluice_substrate.broker_config import ADMIN
from sluice_substrate.errors import Unreachable

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reachability:
    """One thing that the wiring names: whether it answers, and what it said."""

    name: str
    ok: bool
    detail: str


def check(wiring: Wiring) -> tuple[Reachability, ...]:
    """Ask Kafka (as `admin`, else as the first principal with a password), PostgreSQL and the registry."""
    found = [_kafka(wiring)]
    if wiring.postgres is not None:
        found.append(asyncio.run(_postgres(wiring)))
    if wiring.registry.url is not None:
        found.append(_registry(wiring.registry.url))
    return tuple(found)


def require(wiring: Wiring) -> tuple[Reachability, ...]:
    """`check`, but raises Unreachable naming everything that does not answer."""
    found = check(wiring)
    if silent := [item for item in found if not item.ok]:
        problems = "; ".join(f"{item.name}: {item.detail}" for item in silent)
        raise Unreachable(f"the wiring names parts that do not answer: {problems}")
    return found


def _kafka(wiring: Wiring) -> Reachability:
    for principal in (ADMIN, *PRINCIPALS):
        try:
            config = client_config(wiring, principal)
        except SecretMissing:
            continue
        return _cluster(config, f"{wiring.kafka.bootstrap_servers} as {principal}")
    detail = f"no secret kafka_<principal> in {wiring.secrets.dir} or the environment"
    return Reachability("kafka", ok=False, detail=detail)


def _cluster(config: ClientConfig, who: str) -> Reachability:
    said: list[str] = []
    client = AdminClient(config | {"error_cb": lambda error: said.append(error.str()), "log_level": 0})
    try:
        brokers = client.list_topics(timeout=_SECONDS).brokers
    except KafkaException as error:
        client.poll(0)
        reason = said[0] if said else error.args[0].str()
        return Reachability("kafka", ok=False, detail=f"{who}: {reason}")
    return Reachability("kafka", ok=True, detail=f"{who}: {len(brokers)} broker(s)")


async def _postgres(wiring: Wiring) -> Reachability:
    assert wiring.postgres is not None
    where = urllib.parse.urlsplit(wiring.postgres.dsn)
    place = f"{where.hostname}:{where.port or 5432}{where.path}"
    try:
        secret = wiring.postgres.password_secret
        password = wiring.secret_source.get(secret) if secret is not None else None
        connection = await asyncpg.connect(wiring.postgres.dsn, password=password, timeout=_SECONDS)
    except (OSError, asyncpg.PostgresError, SecretMissing, TimeoutError) as error:
        return Reachability("postgres", ok=False, detail=f"{place}: {error or type(error).__name__}")
    try:
        version = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return Reachability("postgres", ok=True, detail=f"PostgreSQL {version} at {place}")


def _registry(url: str) -> Reachability:
    try:
        response = httpx.get(f"{url.rstrip('/')}/subjects", timeout=_SECONDS)
    except httpx.HTTPError as error:
        return Reachability("registry", ok=False, detail=f"{url}: {error}")
    ok = response.status_code == httpx.codes.OK
    return Reachability("registry", ok=ok, detail=f"{url}: HTTP {response.status_code}")
