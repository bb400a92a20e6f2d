"""The documents agree with each other and with what they describe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples")
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(page for each in FOLDERS for page in sorted((ROOT / each).rglob("*.md"))),
]
WORDS = {"run", "test", "check", "bench", "load", "prove", "docs", "clean"}

LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
HEADING = re.compile(r"^#+ (.+)$", re.M)
SETTING = re.compile(r"\bNEXTBEST_[A-Z_]+\b")
PATH_IN_CODE = re.compile(r"`((?:api|decisioning|models|rules|tests|deploy|docs)/[\w./-]*)`")


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


def test_every_setting_in_the_code_is_documented() -> None:
    files = [file for package in ("api", "decisioning") for file in (ROOT / package).rglob("*.py")]
    settings = {name for file in files for name in SETTING.findall(file.read_text())}
    documented = {name for page in PAGES for name in SETTING.findall(read(page))}

    assert sorted(settings - documented) == []
