"""What the console is called, whom it asks, and what it may read."""

from typing import Final

from sluice_contracts import TOPICS

SERVICE: Final = "console"
PRINCIPAL: Final = "console"
TOKEN_SECRET: Final = "token_console"
"""What the other services know the console by. It stays in this process: pages and answers never hold it."""

NEIGHBOURS: Final = (
    "scenario_runner",
    "world_stream_producer",
    "ingest_edge",
    "ingestion_gate",
    "flow_meter",
    "entity_graph",
    "online_features",
    "degrade_ladder",
    "decision_fabric",
    "action_layer",
    "decision_log",
)
"""Services in the order of the flow. One that does not run is shown as such."""

FOLLOWED: Final = ("traffic.decision", "traffic.action_intent", "traffic.action_outcome", "control.posture")
"""Topics whose new records are decoded."""

CONSUMES: Final = tuple(sorted(topic.name for topic in TOPICS.values() if PRINCIPAL in topic.consumers))
"""Topics whose size is shown and whose records may be looked up by coordinates."""
