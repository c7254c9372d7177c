"""Announcements: basis records that are no batch; they name the instance that owns a shard."""

from collections.abc import Mapping
from typing import Final

from sluice_kit.artifacts import Locator
from sluice_kit.stage.basis import BasisRecord

INSTANCE: Final = "instance"
DRAINED: Final = "drained"


def announcement(
    *,
    service: str,
    shard: int,
    instance: str,
    code_rev: str,
    transactional_id: str,
    batch_no: int,
    now: int,
    checkpoint: Locator | None,
    chain: str | None,
    drained: bool = False,
) -> BasisRecord:
    """A record that repeats its predecessor's `batch_no` and `now`; the last one of a drain says so."""
    environment: Mapping[str, str] = {INSTANCE: instance} | ({DRAINED: "true"} if drained else {})
    return BasisRecord(
        service=service,
        shard=shard,
        batch_no=batch_no,
        inputs=[],
        now=now,
        code_rev=code_rev,
        transactional_id=transactional_id,
        outputs_digest="",
        environment=environment,
        checkpoint=checkpoint,
        chain=chain,
    )
