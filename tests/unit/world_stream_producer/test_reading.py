"""Rows of a plan: framed as the contract says, from any row on, and only from files that verify."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.world_stream_producer.core import StreamPlan, plan_stream
from services.world_stream_producer.framing import Framed
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.testing import payments, ready_world, seal_payments
from sluice_contracts import TOPICS, Decoded, check, contract_for, decode, event_id_for, payload_hash
from sluice_kit.artifacts import ArtifactStore, DigestMismatch

LANE_TYPES = TOPICS["ingress.world_stream_producer"].event_types


def values(
    plan: StreamPlan, oracle: ArtifactStore, start: int = 0, *, batch_rows: int = 500, producer: str = "x"
) -> list[bytes]:
    framed = framed_rows(plan, oracle, start, batch_rows=batch_rows, producer=producer)
    return [value for batch in framed for value in batch.values]


def decoded(value: bytes) -> Decoded:
    content = decode(value)
    assert isinstance(content, Decoded)
    return content


def test_every_row_becomes_a_valid_event_with_its_derived_id(plan: StreamPlan, oracle: ArtifactStore) -> None:
    rows = payments(3_000).to_pylist()
    messages = values(plan, oracle, producer="world_stream_producer")
    assert len(messages) == len(rows)
    for message, row in zip(messages, rows, strict=True):
        fields = decoded(message).fields
        assert check(fields) == ()
        assert fields["event_id"] == event_id_for(
            "payment", plan.manifest_fingerprint, "run-1", "payments", row["row_key"]
        )
        assert fields["ts_utc"] == int(row["ts_utc"].timestamp() * 1_000_000)
        payload = {name: row[name] for name in row if name not in {"ts_utc", "row_key"}}
        assert fields["payload"] == payload
        assert fields["producer"] == "world_stream_producer"


def test_the_bytes_are_those_of_the_contracts_codec(plan: StreamPlan, oracle: ArtifactStore) -> None:
    for message in values(plan, oracle)[:200]:
        assert contract_for("payment").encode(decoded(message).fields) == message


def test_push_and_pull_differ_in_the_producer_alone(plan: StreamPlan, oracle: ArtifactStore) -> None:
    push = [decoded(value).fields for value in values(plan, oracle, producer="world_stream_producer")]
    pull = [decoded(value).fields for value in values(plan, oracle, producer="backfill")]
    assert [fields["event_id"] for fields in push] == [fields["event_id"] for fields in pull]
    assert [payload_hash(fields) for fields in push] == [payload_hash(fields) for fields in pull]
    assert [fields | {"producer": "backfill"} for fields in push] == pull


@pytest.mark.parametrize("start", [0, 1, 499, 500, 501, 2_999, 3_000])
def test_any_start_row_gives_the_rest_of_the_same_messages(
    plan: StreamPlan, oracle: ArtifactStore, start: int
) -> None:
    assert values(plan, oracle, start, batch_rows=777) == values(plan, oracle)[start:]


def test_several_outputs_are_one_stream_in_time_order(
    tmp_path: Path, oracle: ArtifactStore, artifacts: ArtifactStore
) -> None:
    world = seal_payments(tmp_path, oracle, 900, outputs=("cards", "transfers"))
    ready = ready_world(world, artifacts, run_id="run-two-outputs")
    plan = plan_stream(ready.ready, ready.view, LANE_TYPES)
    assert isinstance(plan, StreamPlan)
    messages = values(plan, oracle, batch_rows=64)
    events = [decoded(message).fields for message in messages]
    order = [(event["ts_utc"], event["payload"]["payment_id"][0]) for event in events]
    assert order == sorted(order)
    assert len({event["event_id"] for event in events}) == 1_800
    assert values(plan, oracle, 601, batch_rows=100) == messages[601:]


@dataclass(frozen=True, repr=False)
class Labelled:
    """A plan and its messages; their text would be long."""

    plan: StreamPlan
    messages: list[bytes]


@pytest.fixture(scope="module")
def labelled(
    tmp_path_factory: pytest.TempPathFactory, oracle: ArtifactStore, artifacts: ArtifactStore
) -> Labelled:
    """1,200 payments, each third of them with a label that comes at the moment of a later payment."""
    world = seal_payments(tmp_path_factory.mktemp("labelled"), oracle, 1_200, label_every=3)
    ready = ready_world(world, artifacts, run_id="run-labelled")
    assert ready.ready["payload"]["expected_events"] == 1_600
    plan = plan_stream(ready.ready, ready.view, LANE_TYPES)
    assert isinstance(plan, StreamPlan)
    return Labelled(plan, values(plan, oracle, batch_rows=100))


def test_labels_come_by_time_and_ahead_of_payments_of_the_same_time(
    labelled: Labelled,
) -> None:
    assert [output.output_id for output in labelled.plan.outputs] == ["payments_told", "payments"]
    events = [decoded(message).fields for message in labelled.messages]
    order = [
        (event["ts_utc"], event["event_type"] != "label", event["payload"]["payment_id"]) for event in events
    ]
    assert order == sorted(order)
    times = [event["ts_utc"] for event in events]
    assert sum(earlier == later for earlier, later in itertools.pairwise(times)) == 367, "labels that tie"
    assert [event["event_type"] for event in events[-33:]] == ["label"] * 33, "learnt after the last payment"


def test_a_label_is_a_valid_event_of_what_its_payment_says(labelled: Labelled) -> None:
    events = [decoded(message).fields for message in labelled.messages]
    by_id = {event["payload"]["payment_id"]: event for event in events if event["event_type"] == "payment"}
    labels = [event for event in events if event["event_type"] == "label"]
    assert len(labels) == 400
    shared = ("payment_id", "customer_id", "terminal_id", "account_id", "card_id", "merchant_id", "device_id")
    for message, label in (
        (m, e) for m, e in zip(labelled.messages, events, strict=True) if e in labels[:50]
    ):
        payload, payment = label["payload"], by_id[label["payload"]["payment_id"]]
        assert check(label) == ()
        assert contract_for("label").encode(label) == message
        assert label["event_id"] == event_id_for(
            "label", labelled.plan.manifest_fingerprint, "run-labelled", "payments_told", payload["label_id"]
        )
        assert label["ts_utc"] == payload["observed_time"] == payment["ts_utc"] + 100 * 1_000_000
        assert payload["effective_time"] == payment["ts_utc"]
        assert {name: payload[name] for name in shared} == {name: payment["payload"][name] for name in shared}
        assert (payload["label"], payload["subject_event_id"]) == ("FRAUD", None)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 1_600), batch_rows=st.sampled_from([33, 1_000, 8_192]))
def test_from_any_row_on_the_rest_is_the_same(
    labelled: Labelled,
    oracle: ArtifactStore,
    start: int,
    batch_rows: int,
) -> None:
    assert values(labelled.plan, oracle, start, batch_rows=batch_rows) == labelled.messages[start:]


def test_a_flipped_byte_stops_before_any_row_of_that_file(tmp_path: Path, artifacts: ArtifactStore) -> None:
    from sluice_kit.artifacts import open_store

    own = open_store(tmp_path / "oracle", "oracle")
    (tmp_path / "draft").mkdir()
    ready = ready_world(
        seal_payments(tmp_path / "draft", own, 2_000, seed=9), artifacts, run_id="run-tampered"
    )
    plan = plan_stream(ready.ready, ready.view, LANE_TYPES)
    assert isinstance(plan, StreamPlan)
    flip_a_byte(ready.data_files()[0])
    seen: list[Framed] = []
    with pytest.raises(DigestMismatch, match=r"part-00000\.parquet"):
        seen.extend(framed_rows(plan, own, 0, batch_rows=10, producer="x"))
    assert seen == []


def test_a_world_that_is_not_the_planned_one_is_not_read(plan: StreamPlan, oracle: ArtifactStore) -> None:
    from dataclasses import replace

    (output,) = plan.outputs
    other = replace(output.files[0], digest="sha256:" + "0" * 64)
    changed = replace(plan, outputs=(replace(output, files=(other,)),))
    with pytest.raises(DigestMismatch, match="payments"):
        list(itertools.islice(framed_rows(changed, oracle, 0, batch_rows=10, producer="x"), 1))


def flip_a_byte(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(bytes(data))
