"""What the demo does not do, told before anything is started."""

from pathlib import Path

import pytest

from tests.e2e.demo_process import ROOT, last_line, run_demo
from tests.e2e.payment_files import SHOP_MAPPING, write_handbook_rows

pytestmark = pytest.mark.timeout(120)

HANDBOOK_MAPPING = str(ROOT / "deploy/mappings/handbook.yaml")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "input" / "transactions.parquet"
    path.parent.mkdir()
    write_handbook_rows(path, 10)
    return path


def test_a_mapping_that_does_not_fit_the_file(source: Path, tmp_path: Path) -> None:
    mapping, home = tmp_path / "shop.yaml", tmp_path / "home"
    mapping.write_text(SHOP_MAPPING, encoding="utf-8")
    options = ("--file", str(source), "--mapping", str(mapping), "--home", str(home), "--json")
    answer = last_line(run_demo(*options), code=2)
    assert answer["ok"] is False
    assert "PRICE" in answer["error"]
    assert "TX_AMOUNT" in answer["error"]
    assert not home.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--file", "SOURCE"], "--mapping"),
        (["--mapping", HANDBOOK_MAPPING], "--file"),
        (["--sort"], "--file"),
        (["--file", "SOURCE", "--mapping", HANDBOOK_MAPPING, "--events", "500"], "--events"),
    ],
)
def test_options_that_do_not_go_together(source: Path, tmp_path: Path, options: list[str], said: str) -> None:
    given = [str(source) if option == "SOURCE" else option for option in options]
    finished = run_demo(*given, "--home", str(tmp_path / "home"))
    assert finished.returncode == 2
    assert said in finished.stderr
    assert not (tmp_path / "home").exists()


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "photos" / "one.jpg"
    kept.parent.mkdir()
    kept.write_bytes(b"precious")
    answer = last_line(run_demo("--home", str(kept.parent), "--json"), code=2)
    assert str(kept.parent) in answer["error"]
    assert kept.read_bytes() == b"precious"


def test_a_file_in_the_folder_that_is_emptied_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".made-by-sluice-demo").touch()
    write_handbook_rows(home / "mine.parquet", 10)
    options = ("--file", str(home / "mine.parquet"), "--mapping", HANDBOOK_MAPPING)
    answer = last_line(run_demo(*options, "--home", str(home), "--json"), code=2)
    assert "mine.parquet" in answer["error"]
    assert (home / "mine.parquet").exists()
