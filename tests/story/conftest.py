"""One house for all stories, people who are in one story alone, and the browser they sit at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import PATIENCE_S, chromium, watched
from tests.story.house import House, opened_house
from tests.web.conftest import site

__all__ = ["chromium", "site"]

# Playwright's own names a headless browser, which mail services' scanners are; people's browsers send this.
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    with opened_house() as opened:
        yield opened


@pytest.fixture
def person(house: House, request: pytest.FixtureRequest) -> str:
    """A customer of this test alone."""
    return house.welcome("S-" + re.sub(r"\W+", "-", request.node.name)[-40:])


@pytest.fixture
def profile(chromium: Any, house: House, person: str) -> Iterator[Any]:
    """A browser in which the demo is seen as this customer; whatever goes wrong in any page of it fails the test."""
    context = chromium.new_context(base_url=house.url, user_agent=USER_AGENT)
    context.set_default_timeout(PATIENCE_S * 1000)
    context.add_cookies([{"name": "nextbest_customer", "value": person, "url": house.url}])
    faults = watched(context)
    yield context
    context.close()
    assert faults == []
