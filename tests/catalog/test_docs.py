"""The page about strategies shows a strategy that loads, and says every word that files may contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from decisioning.catalog import layout
from decisioning.catalog.load import load_bundle
from decisioning.catalog.outcomes import DROP_REASONS
from decisioning.catalog.shape import Listed, Named, Record, Shape, Text
from tests.catalog.strategies import small

PAGES = Path(__file__).parents[2] / "docs"
PAGE = (PAGES / "strategy.md").read_text()
GLOSSARY = (PAGES / "glossary.md").read_text()
BLOCKS = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", PAGE, re.M | re.S))

pytestmark = pytest.mark.docs


def test_the_blocks_of_the_page_are_a_strategy() -> None:
    picture = small()["content/images/hero_gold.png"]
    files = {path: text.encode() for path, text in BLOCKS.items()} | {"content/images/hero_gold.png": picture}

    strategy = load_bundle(files)

    assert [action.key for action in strategy.actions] == ["grow/cards/gold_upgrade"]
    assert [persona.name for persona in strategy.personas] == ["affluent classic holder"]


def words(shape: Shape | None) -> set[str]:
    """Every key and fixed word a shape knows."""
    if isinstance(shape, Record):
        fields = {**shape.required, **shape.optional}
        return set(fields).union(*map(words, fields.values()))
    if isinstance(shape, (Named, Listed)):
        return words(shape.item)
    return set(shape.words) if isinstance(shape, Text) else set()


EXPLAINED_ELSEWHERE = {*layout.LAWFUL_BASES, *layout.REMEMBERED_OUTCOMES, *layout.DROP_REASONS, *layout.BEHAVIOURS}


@pytest.mark.parametrize(
    "word", sorted(set().union(*(words(shape) for _, shape in layout.FILES)) - EXPLAINED_ELSEWHERE)
)
def test_the_page_says(word: str) -> None:
    assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", PAGE)


@pytest.mark.parametrize("reason", DROP_REASONS)
def test_the_glossary_says_why_a_candidate_drops(reason: str) -> None:
    assert f"| `{reason}` |" in GLOSSARY
