"""The page of snippets: every platform, this installation's address, nothing for agents."""

from __future__ import annotations

from html import unescape

import pytest

from api.email.snippets import PLATFORMS
from tests.console.office import Office, bank_desk

pytestmark = pytest.mark.anyio


async def test_the_page_has_the_code_of_every_platform_and_placement():
    office = Office(desk=bank_desk())
    await office.sign_in("analyst")

    html = unescape((await office.get("/console/snippets")).text)

    for platform in PLATFORMS.values():
        assert platform.title in html
        assert f'src="http://localhost:8080/e/{platform.tag}.png"' in html
        assert platform.note in html
    assert "NEXTBEST_AMP_SENDERS" in html
    assert '<section data-nextbest="web.home.hero">' in html
    assert '<a data-nextbest-field="cta" href="…">' in html


async def test_an_agent_has_no_snippets():
    office = Office(desk=bank_desk())
    await office.sign_in("agent")

    assert (await office.get("/console/snippets")).status_code == 403
    assert "Snippets" not in (await office.get("/console/agent")).text
