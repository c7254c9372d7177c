"""A plan is made from READY and the facts view it names, or refused with a reason."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from services.world_stream_producer.core import PlanRefused, StreamPlan, plan_stream
from services.world_stream_producer.testing import ReadyWorld

LANE_TYPES = {"payment": (1,)}
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def test_the_plan_holds_what_the_facts_view_lists(ready: ReadyWorld, plan: StreamPlan) -> None:
    (output,) = plan.outputs
    (file,) = output.files
    assert (output.output_id, output.event_type, output.event_version) == ("payments", "payment", 1)
    assert file.uri == ready.view["outputs"][0]["files"][0]["uri"]
    assert file.digest == "sha256:" + ready.view["outputs"][0]["files"][0]["digest"]["hash"]
    assert plan.total_rows == 3_000
    assert plan.facts_view_digest == ready.ready["payload"]["facts_view"]["digest"]["hash"]


def test_the_same_ready_and_view_give_the_same_digest(ready: ReadyWorld, plan: StreamPlan) -> None:
    again = plan_stream(copy.deepcopy(ready.ready), copy.deepcopy(ready.view), LANE_TYPES)
    assert isinstance(again, StreamPlan)
    assert again.digest == plan.digest
    assert again.document() == plan.document()


def _other_digest(ready: dict[str, Any], view: dict[str, Any]) -> None:
    view["outputs"][0]["files"][0]["digest"]["hash"] = "0" * 64


def test_another_file_digest_is_another_plan(ready: ReadyWorld, plan: StreamPlan) -> None:
    other, view = copy.deepcopy(ready.ready), copy.deepcopy(ready.view)
    _other_digest(other, view)
    changed = plan_stream(other, view, LANE_TYPES)
    assert isinstance(changed, StreamPlan)
    assert changed.digest != plan.digest


def _set_role(ready: dict[str, Any], view: dict[str, Any]) -> None:
    view["outputs"][0]["role"] = "truth"


def _ask_for_another_output(ready: dict[str, Any], view: dict[str, Any]) -> None:
    ready["payload"]["streamed_outputs"] = ["latest"]


def _another_run(ready: dict[str, Any], view: dict[str, Any]) -> None:
    view["run_id"] = "run-2"


def _another_type(ready: dict[str, Any], view: dict[str, Any]) -> None:
    view["outputs"][0]["event_type"] = "run_ready"


def _another_count(ready: dict[str, Any], view: dict[str, Any]) -> None:
    ready["payload"]["expected_events"] = 1


def _no_files(ready: dict[str, Any], view: dict[str, Any]) -> None:
    del view["outputs"][0]["files"]


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (_set_role, "ROLE_NOT_STREAMED", "payments has role truth"),
        (_ask_for_another_output, "NO_SUCH_OUTPUT", "does not list latest"),
        (_another_run, "PINS_DIFFER", "run_id 'run-1', its facts view 'run-2'"),
        (_another_type, "EVENT_TYPE_NOT_ON_LANE", "run_ready version 1"),
        (_another_count, "EXPECTED_EVENTS_DIFFER", "READY expects 1 events, the facts view lists 3000"),
        (_no_files, "FACTS_VIEW_INVALID", "files"),
    ],
)
def test_refusals_say_why(ready: ReadyWorld, change: Change, code: str, says: str) -> None:
    fields, view = copy.deepcopy(ready.ready), copy.deepcopy(ready.view)
    change(fields, view)
    refused = plan_stream(fields, view, LANE_TYPES)
    assert isinstance(refused, PlanRefused)
    assert refused.code == code
    assert says in refused.detail
