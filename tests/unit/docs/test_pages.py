"""What the pages say can be followed: links lead somewhere, commands and their options exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from sluice_cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for page in ROOT.glob("docs/**/*.md") if page.parent.name != "contracts"),
        *ROOT.glob("services/*/README.md"),
        ROOT / "examples" / "README.md",
    ]
)
COMMAND = re.compile(r"^(?:\$ )?(?:scripts/)?sluice (.*)$")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-") for text in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Command lines in code blocks and in backticks that begin with `sluice`."""
    text = page.read_text("utf-8")
    lines = [
        line.strip()
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    lines += [line.strip() for line in text.splitlines() if line.startswith("    sluice ")]
    lines += re.findall(
        r"`((?:scripts/)?sluice [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )
    for line in lines:
        if found := COMMAND.match(line):
            yield shlex.split(re.split(r"\s#\s?|\s\|\s| > |;", found[1])[0].replace("…", ""), posix=True)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands(page):
        check_command(words)


def check_command(words: list[str]) -> None:
    """Walk down the groups by name, then hold every option against the command's own."""
    asked = SimpleNamespace(
        invoked_subcommand="this one"
    )  # else the group lists its commands without loading them
    at: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(at, "get_command") and rest and not rest[0].startswith("-"):
        names = rest.pop(0).split("|")
        children = [at.get_command(asked, name) for name in names]
        assert all(children), f"sluice {' '.join(words)}: no command {names}"
        at = children[0]
    known = {option for parameter in at.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        for option in re.findall(r"^\[?(--[a-z-]+)", word):
            assert option in known | {"--help", "-h"}, f"sluice {' '.join(words)}: no option {option}"
