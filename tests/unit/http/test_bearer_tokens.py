import pytest

from sluice_kit.config import SecretSource
from sluice_kit.http import ProblemError
from sluice_kit.http.bearer_tokens import Caller, TokenBook, TokenFileError, issue_token


def test_a_token_names_its_holder_and_only_hashes_are_stored() -> None:
    token, line = issue_token("partner_acme", ["publisher", "reader"])
    assert token not in line
    book = TokenBook.parse(f"# people\n\n{line}  # since May\n", "edge_tokens")
    assert book.caller(token) == Caller("partner_acme", ("publisher", "reader"))
    assert book.caller(token + "x") is None
    assert book.require(f"bearer {token}").name == "partner_acme"


def test_two_tokens_of_one_name_work_while_one_is_replaced() -> None:
    (old, first), (new, second) = issue_token("a"), issue_token("a")
    book = TokenBook.parse(f"{first}\n{second}\n", "edge_tokens")
    assert book.caller(old) == book.caller(new) == Caller("a")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dG9r", "Bearer wrong", "Bearer é"])
def test_anything_else_is_unauthenticated(header: str | None) -> None:
    _, line = issue_token("a")
    with pytest.raises(ProblemError) as caught:
        TokenBook.parse(line, "edge_tokens").require(header)
    assert (caught.value.status, caught.value.code) == (401, "UNAUTHENTICATED")
    assert "Bearer" in caught.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "line", ["lonely", "a b", f"a {'0' * 63}", f"a b {'0' * 64}", f"-a {'0' * 64}", f"{'0' * 64} a"]
)
def test_a_broken_line_is_named_without_its_content(line: str) -> None:
    with pytest.raises(TokenFileError, match="edge_tokens, line 2") as caught:
        TokenBook.parse(f"# first\n{line}\n", "edge_tokens")
    assert line not in str(caught.value)


def test_no_secret_means_that_nobody_may_call() -> None:
    book = TokenBook.load(SecretSource(None, {}), "edge_tokens")
    assert book.caller("anything") is None
