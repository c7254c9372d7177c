"""The demo from an empty folder to the checker's report, told as it happens."""

import time

from sluice_cli.demo_bundle import SEED as TRAINING_SEED
from sluice_cli.demo_bundle import ActiveBundle, activate, train, training_world
from sluice_cli.demo_outcome import Outcome
from sluice_cli.demo_receiver import Receiver, start_receiver
from sluice_cli.demo_steps import DemoError, DemoSteps
from sluice_cli.demo_story import Story
from sluice_cli.demo_traffic import post_twice, send_outside_traffic, wait_at_checkout
from sluice_cli.demo_waiting import Patience, SettledRows
from sluice_cli.demo_world import SealedWorld, WorldSource, sealed_world
from sluice_cli.progress import bring_up_progress
from sluice_fleet.tokens import CONSOLE, PUBLISHER, token_file

KILL_AT = 0.4
"""Share of the world after which the gate is killed; a small world may be through before that is seen."""
LOOK_SECONDS = 0.2


def play(steps: DemoSteps, story: Story, source: WorldSource, *, chaos: bool) -> Outcome:
    """Play it. Raises DemoError, SubstrateError, FleetError, ReplayError, RegistryError."""
    receiver = _bring_up(steps, story)
    bundle = _put_bundle_in_force(steps, story)
    world = _make_world(steps, story, source)
    run_id, killed = _stream(steps, story, world, chaos=chaos)

    story.chapter("5. Outside publishers: good payments, repeats, altered copies, forgeries, noise")
    outside = send_outside_traffic(steps.wiring)
    story.done(f"{outside.sent} records on the lane of {PUBLISHER}")
    token = token_file(steps.deployment.home / "secrets", PUBLISHER).read_text(encoding="utf-8").strip()
    posts = post_twice(steps.url("ingest_edge"), token)
    story.done("one payment over HTTP, and once more as a retry: the same receipt")
    checkouts = wait_at_checkout(steps.url("ingest_edge"), token)
    story.done(
        f"{len(checkouts.waited_ms)} checkouts that wait for their decision: {checkouts.median_ms} ms, "
        f"the slowest {max(checkouts.waited_ms)} ms"
    )

    story.chapter("6. Replay, then the whole world once more (backfill): every event must be a duplicate")
    at = time.monotonic()
    with story.bars() as bars:
        before = steps.replay(lambda done, total: bars.show("replay", done, total))
    story.done(f"{before.records:,} admitted payments read back by offsets", at)
    with story.bars() as bars:
        again = steps.backfill(run_id, lambda done, total: bars.show("backfill", done, total))
    story.done(f"{again:,} rows sent a second time")

    story.chapter("7. The independent checker reads every topic back, and the effects at the receiver")
    at = time.monotonic()
    with story.bars() as bars:
        everything = world.events + again + outside.sent + len(posts) + len(checkouts.waited_ms)
        report = steps.check(
            everything, receiver.effects, lambda done, total: bars.show("records read", done, total)
        )
        story.done(f"{report['records_read']:,} records read", at)
        after = steps.replay(lambda done, total: bars.show("replay of the same offsets", done, total), before)
    story.done(f"{after.records:,} admitted payments read back once more")

    story.chapter("8. Replay proof: the whole chain steps its logged batches again, from nothing")
    with story.bars() as bars:
        verified = steps.verify(lambda done: bars.show("batches", done, None))
    verdict = "every output as logged" if verified.identical else "DIFFERENT"
    story.done(f"{verified.batches:,} batches of {', '.join(verified.members)}: {verdict}")
    return Outcome(
        world=world,
        run_id=run_id,
        gate_killed=killed,
        outside=outside,
        posts=posts,
        checkouts=checkouts,
        backfilled=again,
        report=report,
        before=before,
        after=after,
        example=steps.receipts(outside.example_id),
        bundle=bundle,
        verified=verified,
        console=steps.url(CONSOLE),
    )


def _bring_up(steps: DemoSteps, story: Story) -> Receiver:
    story.chapter("1. A stack of its own: Kafka with access control, PostgreSQL, schema registry, services")
    at = time.monotonic()
    deployment = steps.deployment
    with bring_up_progress() as tell:
        deployment.substrate_up(tell)
        receiver = start_receiver(deployment)
        deployment.fleet.start(report=lambda service, state: tell(service, state, None, None))
    story.done(f"{len(deployment.topology.members)} services run under {deployment.home}", at)
    story.done(f"declined, stepped-up and held payments go to a webhook receiver at {receiver.url}")
    return receiver


def _put_bundle_in_force(steps: DemoSteps, story: Story) -> ActiveBundle:
    """The gate's policy, then a model of another world and its rules."""
    story.chapter(
        "2. What decides: a model trained on another world, with rules and thresholds, put in force"
    )
    story.done(f"policy {steps.use_policy()} is in force")
    at = time.monotonic()
    with story.bars() as bars:
        teaching = training_world(
            steps, TRAINING_SEED, lambda done, total: bars.show("payments to learn from", done, total)
        )
    story.note("training ...")
    trained = train(steps, teaching)
    ranked = trained.evaluation.roc_auc_ppm
    told = "" if ranked is None else f", AUC ROC {ranked / 1e6:.3f} on payments that it has not seen"
    story.done(f"trained on {trained.training_rows:,} payments{told}", at)
    at = time.monotonic()
    bundle = activate(steps, trained)
    story.done(f"bundle {bundle.bundle_id} {bundle.revision} is in force, posture NORMAL", at)
    return bundle


def _make_world(steps: DemoSteps, story: Story, source: WorldSource) -> SealedWorld:
    story.chapter(f"3. {source.title}")
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
    story.chapter("4. A run: gates verified, READY admitted, traffic streamed to the Ingestion Gate")
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
