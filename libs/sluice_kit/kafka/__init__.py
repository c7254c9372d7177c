"""Kafka clients: configurations, and the administration that contracts ask for."""

from sluice_kit.kafka.clients import (
    ClientConfig,
    bulk_reader_config,
    client_config,
    idempotent_producer_config,
    reader_config,
    transactional_producer_config,
)

__all__ = [
    "ClientConfig",
    "bulk_reader_config",
    "client_config",
    "idempotent_producer_config",
    "reader_config",
    "transactional_producer_config",
]
