"""Wiring of the entity graph: its stage, and the look-ups beside it."""

from services.entity_graph.api import GraphApi, router
from services.entity_graph.core import SERVICE
from services.entity_graph.page_tokens import PageTokens
from services.entity_graph.settings import load_policy
from services.entity_graph.stage import EntityGraphStage
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.http.access import Access
from sluice_kit.stage.process import Member, StageArguments, run_stage
from sluice_kit.telemetry import Health


def make_member(given: StageArguments, store: ArtifactStore, health: Health) -> Member:
    """What a process needs of the graph, alone or chained. Raises PolicyError, TokenFileError."""
    del store
    stage = EntityGraphStage(load_policy(given.wiring.policy_dir), given.shard)
    if not given.serves:
        return Member(stage)
    access = Access.load(given.wiring.secret_source, health)
    return Member(stage, routers=(access.guarded(router(GraphApi(stage.state, PageTokens()))),))


def main(arguments: list[str] | None = None) -> int:
    """Run the graph until it is told to stop."""
    return run_stage(SERVICE, make_member, arguments)
