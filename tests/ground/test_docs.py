"""The documents agree with each other and with what they describe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from api.cli.main import commands

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples")
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(page for each in FOLDERS for page in sorted((ROOT / each).rglob("*.md"))),
]
COMMAND = re.compile(r"`nextbest ([a-z][^`]*)`")
WORDS = {"run", "test", "check", "bench", "load", "prove", "docs", "clean"}

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
HEADING = re.compile(r"^#+ (.+)$", re.M)
SETTING = re.compile(r"\bNEXTBEST_[A-Z_]+\b")
PATH_IN_CODE = re.compile(r"`((?:api|decisioning|models|rules|tests|deploy|docs)/[\w./-]*)`")


pytestmark = pytest.mark.docs


def read(page: Path) -> str:
    return page.read_text() if page.exists() else ""


def anchors(page: Path) -> set[str]:
    """The anchors that headings get: lower case, punctuation gone, spaces to hyphens."""
    headings = HEADING.findall(FENCE.sub("", read(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def link_fault(page: Path, target: str) -> str | None:
    """What is wrong with a relative link, or None."""
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    if not linked.exists():
        return f"{page.relative_to(ROOT)}: {target} leads nowhere"
    if anchor and anchor not in anchors(linked):
        return f"{page.relative_to(ROOT)}: {target}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(FENCE.sub("", page.read_text())) if "://" not in target]

    assert [fault for target in targets if (fault := link_fault(page, target))] == []


def test_files_named_in_the_pages_exist() -> None:
    named = {(page, path) for page in PAGES for path in PATH_IN_CODE.findall(read(page))}

    assert sorted(f"{page.name}: {path}" for page, path in named if not (ROOT / path).exists()) == []


def test_make_knows_exactly_the_words_we_teach() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^(\w+):", makefile, re.M)) - {"help"}
    taught = {word for page in PAGES for word in re.findall(r"(?:^|`)make ([a-z]+)", read(page), re.M)}

    assert targets == WORDS
    assert taught <= WORDS


def test_ci_runs_the_test_command_of_the_readme() -> None:
    commands = [line.split(" #")[0].strip() for line in (ROOT / ".ci/run").read_text().splitlines()]

    assert "make test" in commands
    assert re.search(r"^make test\b|`make test`", read(ROOT / "README.md"), re.M)


def test_the_settings_of_the_code_are_those_of_the_page_and_no_page_knows_others() -> None:
    files = [file for package in ("api", "decisioning") for file in (ROOT / package).rglob("*.py")]
    settings = {name for file in files for name in SETTING.findall(file.read_text())}
    listed = set(re.findall(r"^\| `(NEXTBEST_[A-Z_]+)` \|", read(ROOT / "docs/settings.md"), re.M))
    mentioned = {name for page in PAGES for name in SETTING.findall(read(page))}

    assert listed == settings
    assert sorted(mentioned - settings) == []


def test_the_readme_lists_every_command_and_no_page_names_another() -> None:
    known = dict(commands_below(commands))
    listed = {path for path in known if f"`nextbest {path}" in read(ROOT / "README.md")}
    named = {(page, text) for page in PAGES for text in COMMAND.findall(read(page))}

    assert listed == known.keys()
    assert sorted(f"{page.name}: nextbest {text}" for page, text in named if is_unknown(text, known)) == []


def commands_below(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_below(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def is_unknown(text: str, known: dict[str, click.Command]) -> bool:
    """Whether what follows `nextbest` begins with no command, or has options that the command lacks."""
    command = next((known[path] for path in known if f"{text} ".startswith(f"{path} ")), None)
    options = {option for each in command.params for option in each.opts} if command else set()
    return command is None or not set(re.findall(r"--[a-z-]+", text)) <= options
