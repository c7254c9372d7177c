"""The graph as a process of its own."""

from services.entity_graph.api import GraphApi, router
from services.entity_graph.core import SERVICE
from services.entity_graph.page_tokens import PageTokens
from services.entity_graph.settings import POLICY_DIR, load_policy
from services.entity_graph.stage import EntityGraphStage, entity_graph_chain
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage.process import StageApp, StageArguments, run_stage
from sluice_kit.telemetry import Health


def build(given: StageArguments, store: ArtifactStore, health: Health) -> StageApp:
    """The graph as a process. Raises PolicyError, TokenFileError."""
    del store
    stage = EntityGraphStage(load_policy(POLICY_DIR), given.shard)
    access = Access.load(given.wiring.secret_source, health)
    routes = access.guarded(router(GraphApi(stage.state, PageTokens())))
    return StageApp(entity_graph_chain(stage), routers=(routes,))


def main(arguments: list[str] | None = None) -> int:
    """Run the graph until it is told to stop."""
    return run_stage(SERVICE, build, arguments)
