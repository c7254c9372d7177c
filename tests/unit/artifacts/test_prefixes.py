from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.artifacts import (
    PREFIXES,
    TOKEN_ORDER,
    ArtifactPathError,
    prefix_of,
    sensitive_findings,
    token_path,
)
from sluice_kit.artifacts.prefixes import ENGINE_RECEIPTS, VERIFIER_RECEIPTS

values = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,30}", fullmatch=True)


@given(st.dictionaries(st.sampled_from(TOKEN_ORDER), values, min_size=1))
def test_tokens_stand_in_the_pinned_order_however_they_are_given(tokens: Any) -> None:
    path = token_path(**tokens)
    names = [part.partition("=")[0] for part in path.split("/")]
    assert names == [name for name in TOKEN_ORDER if name in tokens]
    assert prefix_of("artifact", f"sr/run_plan/{path}/plan.json").path == "sr/run_plan"


@given(st.permutations(TOKEN_ORDER).filter(lambda names: tuple(names) != TOKEN_ORDER))
def test_any_other_order_is_refused(names: Any) -> None:
    path = "/".join(f"{name}=1" for name in names)
    with pytest.raises(ArtifactPathError, match="order seed, parameter_hash, manifest_fingerprint"):
        prefix_of("artifact", f"sr/run_plan/{path}")


@pytest.mark.parametrize(
    "path", ["dla/run_id=1/run_id=2", "dla/day=1", "sr/other/x", "worlds/x", "", "dla/a b"]
)
def test_paths_outside_of_the_map_are_refused(path: Any) -> None:
    with pytest.raises(ArtifactPathError):
        prefix_of("artifact", path)


@pytest.mark.parametrize("tokens", [{}, {"seed": None}, {"run": "1"}, {"run_id": "../x"}, {"run_id": "a/b"}])
def test_token_values_are_safe_path_segments(tokens: Any) -> None:
    with pytest.raises(ArtifactPathError):
        token_path(**tokens)


def test_instance_proofs_of_engine_and_verifier_never_share_a_prefix() -> None:
    assert not VERIFIER_RECEIPTS.startswith(ENGINE_RECEIPTS)
    assert f"artifact://{VERIFIER_RECEIPTS}" in PREFIXES
    assert prefix_of("oracle", f"worlds/seed=1/{ENGINE_RECEIPTS}/g/_passed.flag").path == "worlds"


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (b"-----BEGIN PRIVATE KEY-----", "a private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        (b"id AKIAIOSFODNN7EXAMPLE rest", "an AWS access key id"),
        (b"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "an AWS secret key"),
        (b"postgres://host?password=hunter22", "a password"),
        (b'{"Password": "hunter22"}', "a password"),
        (b"PASSWORD: hunter22", "a password"),
        (b"Authorization: Bearer abcdefghijklmnopqrstuvwx", "a bearer token"),
    ],
)
def test_secrets_are_found(data: Any, finding: Any) -> None:
    assert sensitive_findings(b"x" * 5000 + data) == (finding,)


@pytest.mark.parametrize(
    "data",
    [
        b'{"password_secret": "kafka_gate"}',
        b'{"password": null}',
        b"password=${DB_PASSWORD}",
        b"password=***",
        b"-----BEGIN PUBLIC KEY-----",
        b"XAKIAIOSFODNN7EXAMPLEX",
        b'{"digest": {"algo": "sha256", "hash": "' + b"0a" * 32 + b'"}}',
    ],
)
def test_names_and_placeholders_are_not_secrets(data: Any) -> None:
    assert sensitive_findings(data) == ()
