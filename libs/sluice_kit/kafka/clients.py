"""Configurations in librdkafka's terms: one base for every client, and the few settings correctness needs."""

from typing import Any

from sluice_kit.config import Wiring

ClientConfig = dict[str, Any]


def client_config(wiring: Wiring, principal: str) -> ClientConfig:
    """Connection settings of `principal`. Raises SecretMissing when it has no password."""
    kafka = wiring.kafka
    config: ClientConfig = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "client.id": f"sluice-{principal}",
        # At the default of 10 s a broker that was away for a moment is looked for again only long after.
        "reconnect.backoff.max.ms": 1_000,
    }
    if kafka.security_protocol.startswith("SASL"):
        config |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": principal,
            "sasl.password": wiring.secret_source.get(f"kafka_{principal}"),
        }
    if kafka.ssl_ca_location is not None:
        config["ssl.ca.location"] = kafka.ssl_ca_location
    return config


def reader_config(wiring: Wiring, principal: str, *, group: str) -> ClientConfig:
    """A consumer that assigns explicit offsets, sees committed records only and never resets silently.

    The broker answers with the first committed record; `fetch.wait.max.ms` is how long it keeps a question
    open when there is none, and so how often each reader of a quiet topic asks.
    """
    return client_config(wiring, principal) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": False,
        "fetch.wait.max.ms": 50,
        "fetch.error.backoff.ms": 5,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 65_536,
        "fetch.message.max.bytes": 4_194_304,
    }


def bulk_reader_config(wiring: Wiring, principal: str, *, group: str, patience_ms: int = 200) -> ClientConfig:
    """A reader for whoever works in batches: the broker answers after `patience_ms`, or with much at once.

    A reader that is answered at once asks hundreds of times under a steady flow, for a few records
    each, and broker and client pay for every question. `patience_ms` is part of how late records arrive.
    """
    return reader_config(wiring, principal, group=group) | {
        "fetch.wait.max.ms": patience_ms,
        "fetch.min.bytes": 4_000_000,
    }


def idempotent_producer_config(wiring: Wiring, principal: str) -> ClientConfig:
    """A producer for a lane: acknowledged by all, no duplicates of its own making."""
    return client_config(wiring, principal) | {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 2,
        "partitioner": "murmur2_random",
        "message.max.bytes": 2_000_000,
    }


def transactional_producer_config(
    wiring: Wiring, principal: str, *, transactional_id: str, timeout_ms: int = 10_000
) -> ClientConfig:
    """A transactional producer. A stage's own client takes who it is, where to, and how long it may take.

    The rest is for librdkafka, whose commit takes 100 ms with `retry.backoff.ms` at its default.
    """
    return client_config(wiring, principal) | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": timeout_ms,
        "enable.idempotence": True,
        "acks": "all",
        "retry.backoff.ms": 5,
        "linger.ms": 1,
        "partitioner": "murmur2_random",
        "message.max.bytes": 2_000_000,
        "queue.buffering.max.messages": 1_000_000,
    }
