"""The services of a deployment as processes on this machine: start, watch, kill, drain."""

from sluice_fleet.deployment import Deployment
from sluice_fleet.fleet import Fleet, FleetError, ServiceStatus
from sluice_fleet.topology import CHAINED, SEPARATE, Member, Topology, TopologyError, load_topology

__all__ = [
    "CHAINED",
    "SEPARATE",
    "Deployment",
    "Fleet",
    "FleetError",
    "Member",
    "ServiceStatus",
    "Topology",
    "TopologyError",
    "load_topology",
]
