"""The policy file: read strictly, the environment wins over it."""

from pathlib import Path

import pytest

from services.world_stream_producer.settings import PolicyError, load_policy


def test_the_shipped_policy_is_valid_and_has_a_revision() -> None:
    policy = load_policy()
    assert policy.revision
    assert policy.speed == 0.0


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("revision: r2\nspeed: 60\n")
    assert load_policy(path).speed == 60.0
    monkeypatch.setenv("SLUICE_WSP_SPEED", "max")
    assert load_policy(path).speed == 0.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("speed: 1\n", "revision: Field required"),
        ("revision: r\nspeed: -1\n", "speed"),
        ("revision: r\nspede: 1\n", "spede"),
        ("- 1\n", "must hold a mapping"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=r"policy\.yaml") as caught:
        load_policy(path)
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"absent\.yaml cannot be read"):
        load_policy(tmp_path / "absent.yaml")
