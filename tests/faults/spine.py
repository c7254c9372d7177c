"""The ingress spine as topologies: what the fault tests of the gate need, and nothing beside it."""

from typing import Final

from sluice_fleet.topology import Member, Topology, services

SPINE: Final = Topology(
    name="spine",
    members=services(
        "ingestion_gate", "scenario_runner", "world_stream_producer", "ingest_edge", "flow_meter"
    ),
)
CHAINED_SPINE: Final = Topology(
    name="chained_spine",
    members=(
        Member(service="ingestion_gate", chained=("flow_meter",)),
        *services("scenario_runner", "world_stream_producer", "ingest_edge"),
    ),
)
