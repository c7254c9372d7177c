"""What the control topic tells: READY makes a run known, CLOSED ends it. Effects are rows, nothing else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from services.world_stream_producer import store
from services.world_stream_producer.core import PUSH, delivery_mode
from services.world_stream_producer.live import RunKey
from sluice_contracts import Decoded
from sluice_kit.telemetry import get_logger
from sluice_kit.workflow import Handler, Inbound

_log = get_logger("control")
READY: Final = "run_ready"
CLOSED: Final = "run_closed"


def control_handler(changed: Callable[[RunKey], None]) -> Handler:
    """Make the handler of `control.run`; `changed` is told of each run that a record was about."""

    async def on_control(tx: Any, records: Sequence[Inbound]) -> None:
        for record in records:
            content = record.content
            if not isinstance(content, Decoded):  # the gate writes this topic; it is not ours to judge
                _log.error("control record is unreadable", offset=record.offset, detail=content.detail)
                continue
            if content.contract.event_type == READY:
                await _on_ready(tx, content.fields)
            elif content.contract.event_type == CLOSED:
                await _on_closed(tx, content.fields)
            else:
                continue
            changed((content.fields["tenant"], content.fields["run_id"]))

    return on_control


async def _on_ready(tx: Any, ready: Mapping[str, Any]) -> None:
    mode = delivery_mode(ready)
    state, reason = ("READY", None) if mode == PUSH else ("SKIPPED", f"traffic_delivery_mode is {mode}")
    added = await store.add_run(tx, ready["tenant"], ready["run_id"], ready, state=state, reason=reason)
    if not added:
        _log.info("run is known already, its first READY stands", run_id=ready["run_id"])


async def _on_closed(tx: Any, closed: Mapping[str, Any]) -> None:
    await store.close_run(
        tx, closed["tenant"], closed["run_id"], f"RUN_CLOSED: {closed['payload']['reason']}"
    )
