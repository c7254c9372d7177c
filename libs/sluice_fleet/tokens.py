"""Bearer tokens of a local deployment: made once a home, only their hashes are what services read."""

import hashlib
import secrets
from pathlib import Path

EDGE_TOKENS = "edge_tokens"
OPERATOR_TOKENS = "operator_tokens"
PUBLISHER = "partner_acme"
OPERATOR = "operator"


def ensure_tokens(folder: Path) -> None:
    """Give the example publisher and the operator a token each, unless they have one."""
    _ensure(folder, EDGE_TOKENS, PUBLISHER, "")
    _ensure(folder, OPERATOR_TOKENS, OPERATOR, " operator")


def token_file(folder: Path, name: str) -> Path:
    """Where the token itself is kept for the person at this machine."""
    return folder / f"token_{name}"


def _ensure(folder: Path, book: str, name: str, roles: str) -> None:
    if token_file(folder, name).is_file() and (folder / book).is_file():
        return
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    for path, content in ((token_file(folder, name), token), (folder / book, f"{name} {digest}{roles}")):
        path.touch(mode=0o600)
        path.write_text(f"{content}\n", encoding="utf-8")
