"""Kafka clients: configurations, and the administration that contracts ask for."""

from sluice_kit.kafka.clients import (
    ClientConfig,
    client_config,
    idempotent_producer_config,
    reader_config,
    transactional_producer_config,
)

__all__ = [
    "ClientConfig",
    "client_config",
    "idempotent_producer_config",
    "reader_config",
    "transactional_producer_config",
]
