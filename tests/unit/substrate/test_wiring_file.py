"""The local stack's wiring file: what is its own is written anew, what is its user's stays."""

from pathlib import Path

import yaml

from sluice_kit.config import load_wiring
from sluice_substrate.folders import Home
from sluice_substrate.record import ComponentRecord, StackRecord
from sluice_substrate.wiring_file import wire_webhook, write_wiring


def stack(port: int) -> StackRecord:
    return StackRecord({"kafka": ComponentRecord((port, port + 1))})


def test_a_webhook_survives_the_next_start_of_the_stack(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_wiring(home, stack(9_000))
    wire_webhook(home.wiring, "webhook", "http://127.0.0.1:1/", "http://127.0.0.1:1/{key}")
    write_wiring(home, stack(9_100))
    wiring = load_wiring(home.wiring)
    assert wiring.kafka.bootstrap_servers == "127.0.0.1:9100"
    assert wiring.webhooks["webhook"].status_url == "http://127.0.0.1:1/{key}"


def test_what_the_user_wrote_beside_it_stays(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write_wiring(home, stack(9_000))
    content = yaml.safe_load(home.wiring.read_text("utf-8"))
    content |= {"region": "eu", "telemetry": {"trace_ratio": 1.0}, "state_dir": "/elsewhere"}
    home.wiring.write_text(yaml.safe_dump(content), "utf-8")
    write_wiring(home, stack(9_000))
    wiring = load_wiring(home.wiring)
    assert (wiring.region, wiring.telemetry.trace_ratio) == ("eu", 1.0)
    assert wiring.state_dir == tmp_path / "state"
