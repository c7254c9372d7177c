"""The checker finds nothing in a right log, and names each thing that can be wrong."""

from collections.abc import Callable

import pytest

from sluice_checker.report import Fault
from sluice_contracts import encode
from tests.unit.checker.crafted_log import NOW, NOW_MS, READY_LANE, CraftedLog, Fields, payment, ready
from tests.unit.checker.crafted_loop import LOOP_FAULTS


@pytest.fixture
def log() -> CraftedLog:
    """Ten admissions, three duplicates, two refusals (one original inline), one chained, one released."""
    made = CraftedLog()
    made.take(ready(), topic=READY_LANE)
    for number in range(10):
        made.take(payment(number))
    for number in (3, 4, 5):
        made.take(payment(number, emitted_at_utc=NOW))  # a re-send differs in its send time only
    made.refuse(made.send(b"\x07garbage"))
    made.refuse(made.send(b""), inline=True)
    for number, origin in ((50, "chained"), (51, "released")):
        fields = payment(number)
        unsent = made.send(encode("payment", 1, fields))
        made.lanes.remove(unsent)
        made.settle(fields, unsent, origin=origin)
    return made


def test_a_right_log_has_no_fault_and_every_lane_record_is_counted_once(log: CraftedLog) -> None:
    verdict = log.checked()
    assert verdict.faults == {}
    tally = verdict.tally
    assert (tally.lanes.admitted, tally.lanes.duplicates, tally.lanes.quarantined) == (11, 3, 2)
    assert (tally.lanes.pending, tally.lanes.unreceipted) == (0, 0)
    assert (tally.chained, tally.released, verdict.originals) == (1, 1, 2)


def _drop_receipt(log: CraftedLog) -> None:
    del log.receipts[4]


def _repeat_receipt(log: CraftedLog) -> None:
    log.receipts.append(log.receipts[-3]._replace(offset=100))


def _drop_fact(log: CraftedLog) -> None:
    log.facts.remove(log.facts[5])


def _double_fact(log: CraftedLog) -> None:
    log.facts.append(log.facts[5]._replace(offset=900))


def _move_receipt_to_neighbour(log: CraftedLog) -> None:
    log.rewrite(log.receipts, 4, lambda body: body.update(eb_offset=log.facts[5].offset))


def _alter_fact(log: CraftedLog) -> None:
    log.rewrite(log.facts, 8, lambda body: body.update(amount_minor=1))


def _rekey_fact(log: CraftedLog) -> None:
    log.facts[5] = log.facts[5]._replace(key=b"somebody else")


def _misroute_fact(log: CraftedLog) -> None:
    log.facts[8] = log.facts[8]._replace(topic="control.policy")
    log.rewrite(log.receipts, 8, lambda body: body.update(eb_topic="control.policy"))


def _break_fact(log: CraftedLog) -> None:
    log.facts[9] = log.facts[9]._replace(value=b"\x00junk")


def _wrong_first(log: CraftedLog) -> None:
    log.rewrite(log.receipts, 12, lambda body: body.update(eb_offset=log.facts[1].offset))


def _other_content(log: CraftedLog) -> None:
    """The lane record of a duplicate and its receipt agree with each other, not with the admission."""
    changed = payment(4)
    changed["payload"]["amount_minor"] = 999_999
    other = CraftedLog()
    other.take(changed)
    log.lanes[12] = log.lanes[12]._replace(value=other.lanes[0].value)
    hashes: list[str] = []
    other.rewrite(other.receipts, 0, lambda body: hashes.append(body["payload_hash"]))
    log.rewrite(log.receipts, 12, lambda body: body.update(payload_hash=hashes[0]))


def _forge_hash(log: CraftedLog) -> None:
    log.rewrite(log.receipts, 4, lambda body: body.update(payload_hash="f" * 64))


def _forge_hash_of_chained(log: CraftedLog) -> None:
    log.rewrite(log.receipts, 16, lambda body: body.update(payload_hash="f" * 64))


def _other_subject(log: CraftedLog) -> None:
    """Receipts of two neighbours name each other's lane coordinates."""
    offsets = [record.offset for record in log.lanes]
    log.rewrite(log.receipts, 4, lambda body: body.update(lane_offset=offsets[5]))
    log.rewrite(log.receipts, 5, lambda body: body.update(lane_offset=offsets[4]))


def _invent_lane_record(log: CraftedLog) -> None:
    log.receipt(payment(77), log.lanes[3]._replace(offset=7_000), decision="QUARANTINE")


def _break_receipt(log: CraftedLog) -> None:
    log.receipts.append(log.receipts[0]._replace(offset=200, value=b"\x00\x00"))


def _two_receipts_one_fact(log: CraftedLog) -> None:
    log.settle(payment(60), log.send(encode("payment", 1, payment(60))))
    log.known.clear()
    extra = log.send(encode("payment", 1, payment(60)))
    log.settle(payment(60), extra)
    log.facts.pop()
    log.rewrite(log.receipts, -1, lambda body: body.update(eb_offset=log.facts[-1].offset))


def _quarantine_names_fact(log: CraftedLog) -> None:
    fact = log.facts[2]
    row = next(i for i in range(len(log.receipts)) if _decision(log, i) == "QUARANTINE")
    log.rewrite(
        log.receipts,
        row,
        lambda body: body.update(eb_topic=fact.topic, eb_partition=0, eb_offset=fact.offset),
    )


def _decision(log: CraftedLog, row: int) -> str:
    found: list[str] = []
    log.rewrite(log.receipts, row, lambda body: found.append(body["decision"]))
    return found[0]


def _lose_quarantine_record(log: CraftedLog) -> None:
    del log.quarantine[0]


def _repeat_quarantine_record(log: CraftedLog) -> None:
    log.quarantine.append(log.quarantine[0]._replace(offset=9))


def _orphan_quarantine_record(log: CraftedLog) -> None:
    log.rewrite(log.quarantine, 0, lambda body: body.update(receipt_id="d" * 64))


def _break_quarantine_record(log: CraftedLog) -> None:
    log.quarantine.append(log.quarantine[0]._replace(offset=10, value=b"\x00\x00\x00\x00"))


def _lose_evidence(log: CraftedLog) -> None:
    log.store.objects.clear()


def _alter_evidence(log: CraftedLog) -> None:
    for uri in log.store.objects:
        log.store.objects[uri] = b'{"value": "AAAA"}\n'


def _other_original(log: CraftedLog) -> None:
    """The object is whole, but holds something else than what was sent."""
    kept = log.keep(log.lanes[0])
    log.rewrite(log.quarantine, 0, lambda body: body.update(evidence_ref=kept))


def _other_inline_original(log: CraftedLog) -> None:
    log.rewrite(log.quarantine, 1, lambda body: body.update(inline_original=b"not it"))


def _no_original_at_all(log: CraftedLog) -> None:
    log.rewrite(log.quarantine, 0, lambda body: body.update(evidence_ref=None))


FAULTS: list[tuple[Callable[[CraftedLog], None], set[Fault]]] = [
    (_drop_receipt, {Fault.RECEIPT_MISSING, Fault.FACT_UNRECEIPTED}),
    (_repeat_receipt, {Fault.RECEIPT_TWICE}),
    (_drop_fact, {Fault.FACT_MISSING}),
    (_double_fact, {Fault.FACT_TWICE, Fault.FACT_UNRECEIPTED}),
    (_move_receipt_to_neighbour, {Fault.FACT_MISPLACED, Fault.FACT_RECEIPTED_TWICE, Fault.FACT_UNRECEIPTED}),
    (_alter_fact, {Fault.FACT_ALTERED}),
    (_rekey_fact, {Fault.FACT_WRONG_KEY}),
    (_misroute_fact, {Fault.FACT_WRONG_TOPIC}),
    (_break_fact, {Fault.FACT_UNREADABLE, Fault.FACT_MISPLACED}),
    (_wrong_first, {Fault.DUPLICATE_WRONG_FIRST}),
    (_other_content, {Fault.DUPLICATE_OTHER_CONTENT}),
    (_forge_hash, {Fault.RECEIPT_WRONG_HASH}),
    (_forge_hash_of_chained, {Fault.RECEIPT_WRONG_HASH}),
    (_other_subject, {Fault.RECEIPT_WRONG_SUBJECT, Fault.RECEIPT_WRONG_HASH, Fault.FACT_ALTERED}),
    (_invent_lane_record, {Fault.RECEIPT_UNFOUNDED, Fault.QUARANTINE_UNRECORDED}),
    (_break_receipt, {Fault.RECEIPT_UNREADABLE}),
    (_two_receipts_one_fact, {Fault.FACT_RECEIPTED_TWICE}),
    (_quarantine_names_fact, {Fault.QUARANTINE_WITH_FACT}),
    (_lose_quarantine_record, {Fault.QUARANTINE_UNRECORDED}),
    (_repeat_quarantine_record, {Fault.QUARANTINE_TWICE}),
    (_orphan_quarantine_record, {Fault.QUARANTINE_UNRECORDED, Fault.QUARANTINE_UNRECEIPTED}),
    (_break_quarantine_record, {Fault.QUARANTINE_UNREADABLE}),
    (_lose_evidence, {Fault.EVIDENCE_MISSING}),
    (_alter_evidence, {Fault.EVIDENCE_ALTERED}),
    (_other_original, {Fault.EVIDENCE_ALTERED}),
    (_other_inline_original, {Fault.EVIDENCE_ALTERED}),
    (_no_original_at_all, {Fault.EVIDENCE_MISSING}),
]


@pytest.mark.parametrize(("break_it", "faults"), FAULTS, ids=[case[0].__name__[1:] for case in FAULTS])
def test_each_fault_is_named(
    log: CraftedLog, break_it: Callable[[CraftedLog], None], faults: set[Fault]
) -> None:
    break_it(log)
    assert set(log.checked().faults) == faults


def test_every_fault_of_the_comparison_has_a_crafted_case() -> None:
    of_the_broker = {Fault.TOPIC_ABSENT, Fault.NOT_SETTLED, Fault.LOOP_OPEN}
    in_test_loop = {fault for _, faults in LOOP_FAULTS for fault in faults}
    assert set().union(*(faults for _, faults in FAULTS)) == set(Fault) - of_the_broker - in_test_loop


def test_a_problem_says_where_it_is(log: CraftedLog) -> None:
    _drop_receipt(log)
    problem = next(item for item in log.checked().findings.first() if item.fault is Fault.RECEIPT_MISSING)
    lost = log.lanes[4]
    assert problem.where == f"{lost.topic}[{lost.partition}]@{lost.offset}"


def test_all_are_counted_and_the_first_are_described_one_of_each_kind_first() -> None:
    log = CraftedLog()
    for number in range(100):
        log.take(payment(number))
    log.receipts.clear()
    verdict = log.checked()
    assert verdict.faults == {Fault.RECEIPT_MISSING: 100, Fault.FACT_UNRECEIPTED: 100}
    shown = verdict.findings.first()
    assert len(shown) == 20
    assert [item.fault for item in shown[:2]] == [Fault.RECEIPT_MISSING, Fault.FACT_UNRECEIPTED]


@pytest.mark.parametrize(("age_ms", "pending"), [(1_000, 1), (120_000, 0)])
def test_a_young_ready_may_wait_for_its_receipt_an_old_one_is_missing(
    log: CraftedLog, age_ms: int, pending: int
) -> None:
    held: Fields = ready("run-2")
    log.send(encode("run_ready", 1, held), topic=READY_LANE, timestamp_ms=NOW_MS - age_ms)
    verdict = log.checked(pending_since_ms=NOW_MS - 60_000)
    assert verdict.tally.lanes.pending == pending
    assert verdict.faults == ({} if pending else {Fault.RECEIPT_MISSING: 1})


def test_a_payment_never_waits(log: CraftedLog) -> None:
    log.send(encode("payment", 1, payment(80)))
    assert log.checked().faults == {Fault.RECEIPT_MISSING: 1}


def test_what_retention_took_is_counted_and_not_judged(log: CraftedLog) -> None:
    from sluice_checker.columns import base

    start = log.lanes[4].offset
    lane = (log.lanes[4].topic, log.lanes[4].partition)
    log.lanes = [record for record in log.lanes if record[:2] != lane or record.offset >= start]
    log.floors = {lane: base(*lane) + start}
    verdict = log.checked()
    assert verdict.faults == {}
    assert verdict.tally.beyond == 3
