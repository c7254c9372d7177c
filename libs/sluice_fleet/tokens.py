"""Bearer tokens of a local deployment: made once a home; books of their hashes are what services check by.

A token itself lies beside its book, as the secret `token_<name>`.
"""

from pathlib import Path

from sluice_kit.http.access import OPERATE, READ, TOKENS
from sluice_kit.http.bearer_tokens import issue_token, token_line

EDGE_TOKENS = "edge_tokens"
PUBLISHER = "partner_acme"
OPERATOR = "operator"
EDGE = "edge"
CONSOLE = "console"
BOOKS: dict[str, dict[str, tuple[str, ...]]] = {
    EDGE_TOKENS: {PUBLISHER: ()},
    TOKENS: {OPERATOR: (OPERATE,), EDGE: (READ,), CONSOLE: (READ,)},
}
"""Of each book the names in it, with their roles."""


def ensure_tokens(folder: Path) -> None:
    """Give everybody in the books a token, unless they have one; lines of other tokens stay as they are."""
    for book, names in BOOKS.items():
        path = folder / book
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        own = [token_line(name, _token(folder, name), roles) for name, roles in names.items()]
        hashes = {line.split()[1] for line in own}
        wanted = [line for line in lines if hashes.isdisjoint(line.split())] + own
        if lines != wanted:
            _write(path, "\n".join(wanted))


def token_file(folder: Path, name: str) -> Path:
    """Where the token itself is kept."""
    return folder / f"token_{name}"


def _token(folder: Path, name: str) -> str:
    path = token_file(folder, name)
    if not path.is_file():
        _write(path, issue_token(name)[0])
    return path.read_text(encoding="utf-8").strip()


def _write(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(f"{content}\n", encoding="utf-8")
