"""The demo from an empty folder to the checker's report, told as it happens."""

import time

from sluice_cli.demo_outcome import Outcome
from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.demo_story import Story
from sluice_cli.demo_traffic import post_twice, send_outside_traffic
from sluice_cli.demo_waiting import Patience, SettledRows
from sluice_cli.demo_world import SealedWorld, WorldSource, sealed_world
from sluice_cli.progress import bring_up_progress
from sluice_fleet.tokens import PUBLISHER, token_file

KILL_AT = 0.4
"""Share of the world after which the gate is killed; a small world may be through before that is seen."""
LOOK_SECONDS = 0.2


def play(steps: DemoSteps, story: Story, source: WorldSource, *, chaos: bool) -> Outcome:
    """Play it. Raises DemoError, SubstrateError, FleetError, ReplayError, RegistryError."""
    _bring_up(steps, story)
    world = _make_world(steps, story, source)
    run_id, killed = _stream(steps, story, world, chaos=chaos)

    story.chapter("4. Outside publishers: good payments, repeats, altered copies, forgeries, noise")
    outside = send_outside_traffic(steps.wiring)
    story.done(f"{outside.sent} records on the lane of {PUBLISHER}")
    token = token_file(steps.deployment.home / "secrets", PUBLISHER).read_text(encoding="utf-8").strip()
    posts = post_twice(steps.url("ingest_edge"), token)
    story.done("one payment over HTTP, and once more as a retry: the same receipt")

    story.chapter("5. Replay, then the whole world once more (backfill): every event must be a duplicate")
    at = time.monotonic()
    with story.bars() as bars:
        before = steps.replay(lambda done, total: bars.show("replay", done, total))
    story.done(f"{before.records:,} admitted payments read back by offsets", at)
    with story.bars() as bars:
        again = steps.backfill(run_id, lambda done, total: bars.show("backfill", done, total))
    story.done(f"{again:,} rows sent a second time")

    story.chapter("6. The independent checker reads every topic back")
    at = time.monotonic()
    with story.bars() as bars:
        everything = world.events + again + outside.sent + len(posts)
        report = steps.check(everything, lambda done, total: bars.show("records read", done, total))
        story.done(f"{report['records_read']:,} records read", at)
        after = steps.replay(lambda done, total: bars.show("replay of the same offsets", done, total), before)
    story.done(f"{after.records:,} admitted payments read back once more")
    return Outcome(
        world=world,
        run_id=run_id,
        gate_killed=killed,
        outside=outside,
        posts=posts,
        backfilled=again,
        report=report,
        before=before,
        after=after,
        example=steps.receipts(outside.example_id),
    )


def _bring_up(steps: DemoSteps, story: Story) -> None:
    story.chapter("1. A stack of its own: Kafka with access control, PostgreSQL, schema registry, services")
    at = time.monotonic()
    with bring_up_progress() as tell:
        steps.deployment.up(tell)
    story.done(f"{len(steps.deployment.topology.members)} services run under {steps.deployment.home}", at)


def _make_world(steps: DemoSteps, story: Story, source: WorldSource) -> SealedWorld:
    story.chapter(f"2. {source.title}")
    at = time.monotonic()
    with story.bars() as bars:
        world = sealed_world(source, steps.wiring, lambda done, total: bars.show("payments", done, total))
    told = f" and {world.labels:,} labels that tell of fraud later" if world.labels else ""
    story.done(f"{world.payments:,} payments{told}, sealed and verified", at)
    if rejected := world.facts.get("rejected"):
        story.note(f"{rejected:,} rows of the file were rejected: {steps.deployment.home}/rejects.ndjson")
    story.note(world.uri)
    return world


def _stream(steps: DemoSteps, story: Story, world: SealedWorld, *, chaos: bool) -> tuple[str, bool]:
    """Submit the world and watch the stream to its end; the run, and whether the gate was killed."""
    story.chapter("3. A run: gates verified, READY admitted, traffic streamed to the Ingestion Gate")
    story.done(f"policy {steps.use_policy()} is in force")
    at = time.monotonic()
    run_id = steps.submit(world.uri)
    story.done(f"READY of {run_id} stands on control.run", at)
    at = time.monotonic()
    patience = Patience(f"the stream of {run_id}")
    killed = False
    with story.bars() as bars, SettledRows(steps.wiring, run_id) as settled_rows:
        while True:
            rows, _, state = steps.streamed(run_id)
            settled = settled_rows.count()
            bars.show("on the lane", rows, world.events)
            bars.show("settled by the gate (receipts)", settled, world.events)
            if state in {"FAILED", "REFUSED"}:
                raise DemoError(f"the stream of {run_id} is {state}: see `sluice stream status`")
            through = state == "COMPLETED" and settled >= world.events
            if chaos and not killed and (through or settled > KILL_AT * world.events):
                killed = True
                steps.deployment.fleet.kill("ingestion_gate")
                where = "at the end of a short stream" if through else "with the stream running"
                story.note(f"the gate was killed (SIGKILL) {where}; it restarts by replay")
                steps.deployment.fleet.start(["ingestion_gate"])
            if through:
                break
            patience.see((rows, settled, state))
            time.sleep(LOOK_SECONDS)
    story.done(f"{rows:,} events streamed and settled", at)
    return run_id, killed
