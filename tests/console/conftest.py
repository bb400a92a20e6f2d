"""A console in demo mode for a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import chromium, serving
from tests.console.office import Office

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def console_url() -> Iterator[str]:
    """A console in demo mode, where nobody is known yet."""
    with serving(Office(demo=True).desk) as url:
        yield url
