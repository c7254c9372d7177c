"""Progress where nobody sees a bar: lines, never too many, none for machines."""

import pytest

from sluice_cli import progress


@pytest.mark.parametrize(
    ("every", "total", "lines"),
    [
        (0.0, None, ["rows: 1,000", "rows: 2,000 of 3,000"]),
        (0.0, 9_000, ["rows: 1,000 of 9,000", "rows: 2,000 of 3,000"]),
        (60.0, None, []),
    ],
)
def test_without_a_terminal_there_is_a_line_now_and_then(
    every: float,
    total: int | None,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", every)
    with progress.counting("rows", total) as advance:
        advance(1_000)
        advance(2_000, 3_000)
    assert capsys.readouterr().err.splitlines() == lines


def test_a_machine_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with progress.counting("rows", quiet=True) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")
