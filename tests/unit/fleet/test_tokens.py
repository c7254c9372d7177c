"""A home's tokens: made once, known by their hashes only, lines of others left alone."""

from pathlib import Path

import pytest

from sluice_fleet.tokens import BOOKS, EDGE, EDGE_TOKENS, OPERATOR, PUBLISHER, ensure_tokens, token_file
from sluice_kit.config import SecretSource
from sluice_kit.http.access import OPERATE, READ, TOKENS
from sluice_kit.http.bearer_tokens import Caller, TokenBook, issue_token


def caller(folder: Path, book: str, token: str) -> Caller | None:
    return TokenBook.load(SecretSource(folder, {}), book).caller(token)


def token(folder: Path, name: str) -> str:
    return token_file(folder, name).read_text().strip()


def test_each_has_a_token_with_its_role_in_its_book_alone(tmp_path: Path) -> None:
    ensure_tokens(tmp_path)
    assert caller(tmp_path, TOKENS, token(tmp_path, OPERATOR)) == Caller(OPERATOR, (OPERATE,))
    assert caller(tmp_path, TOKENS, token(tmp_path, EDGE)) == Caller(EDGE, (READ,))
    assert caller(tmp_path, EDGE_TOKENS, token(tmp_path, PUBLISHER)) == Caller(PUBLISHER)
    assert caller(tmp_path, TOKENS, token(tmp_path, PUBLISHER)) is None
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    ensure_tokens(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    ensure_tokens(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", [OPERATOR, "somebody"])
def test_lines_that_were_added_by_hand_stay(tmp_path: Path, name: str) -> None:
    ensure_tokens(tmp_path)
    second, line = issue_token(name, (OPERATE,))
    book = tmp_path / TOKENS
    book.write_text(f"# by hand\n{line}\n{book.read_text()}")
    ensure_tokens(tmp_path)
    assert book.read_text().startswith(f"# by hand\n{line}\n")
    assert caller(tmp_path, TOKENS, second) == Caller(name, (OPERATE,))
    assert caller(tmp_path, TOKENS, token(tmp_path, OPERATOR)) == Caller(OPERATOR, (OPERATE,))


def test_a_line_with_roles_of_before_is_replaced(tmp_path: Path) -> None:
    ensure_tokens(tmp_path)
    book = tmp_path / TOKENS
    book.write_text(book.read_text().replace(f" {OPERATE}\n", " operator\n"))
    ensure_tokens(tmp_path)
    assert caller(tmp_path, TOKENS, token(tmp_path, OPERATOR)) == Caller(OPERATOR, (OPERATE,))
    assert len(book.read_text().splitlines()) == len(BOOKS[TOKENS])
