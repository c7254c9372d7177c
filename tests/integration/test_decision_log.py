"""The decision log as a process, on a real broker and a real Postgres."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.decision_log.testing import HandMade, hand_made
from services.decision_log.testing_service import BusWriter, LogProcess, sql
from sluice_kit.config import Wiring

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


@pytest.fixture(scope="module")
def bus(wiring: Wiring, topics_applied: None) -> BusWriter:
    return BusWriter(wiring)


@pytest.fixture(scope="module")
def service(
    wiring_file: Path, topics_applied: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LogProcess]:
    process = LogProcess(wiring_file, tmp_path_factory.mktemp("log"))
    process.wait_until_ready()
    yield process
    process.close()


def test_each_payment_gets_one_complete_record(
    wiring: Wiring, bus: BusWriter, service: LogProcess, unique: Callable[[str], str]
) -> None:
    payments = list(hand_made(unique("run"), 500))
    bus.write_payments(payments)
    for payment in payments:
        found = service.wait_for_status(payment.event_id, "COMPLETE")
        assert found["record"]["decision"]["id"] == payment.decision_id
    print(
        sql(wiring, "select count(*) from record_index"), service.client.get("/v1/audit/heads/latest").json()
    )
    print(service.client.get(f"/v1/audit/proof/{payment.event_id}").json())
