"""Test drivers: a topology without a broker."""

from sluice_kit.testing.topology import TopologyDriver, WrittenRecord

__all__ = ["TopologyDriver", "WrittenRecord"]
