"""Every page as people see it, small and large, light and dark: axe-core finds no fault, and nothing is cut off."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from api.console.pages import pages
from tests.api.desk import Desk
from tests.browser import PATIENCE_S, axe_violations, settled, shot, watched
from tests.story.conftest import USER_AGENT
from tests.story.house import GOLD, House

GOLD_PAGE = "/demo/product?to=" + quote("https://bank.example/cards/gold", safe="")
PAGES = {
    "start": "/",
    "bank": "/demo/bank",
    "product": GOLD_PAGE,
    "no-product": "/demo/product?to=https://bank.example/",
    "inbox": "/demo/inbox",
    "sign-in": "/console/sign-in",
    "agent": "/console/agent",
    "agent-customer": "/console/agent?customer={customer}",
    "why-not": "/console/agent/why?customer={customer}&action=" + quote(GOLD, safe=""),
    "preview": "/console/preview?placement=email.hero&action=" + quote(GOLD, safe=""),
    "snippets": "/console/snippets",
    "reference": "/docs",
    "trouble": "/demo/follow?mail=absent",
}
# Nobody looks at these alone.
NO_PAGES = {
    "/console/static/{name}",
    "/console/agent/pulse",
    "/demo/pulse",
    "/console/preview.html",
    "/console/preview.png",
}
WIDTHS, SCHEMES = (1280, 360), ("light", "dark")


def test_no_page_is_left_out():
    shown = {path.partition("?")[0] for path in PAGES.values()}

    assert {each.path for each in pages(Desk().service) if each.method == "GET"} - NO_PAGES == shown


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_is_cut_off(chromium, house: House, person, name):
    context = chromium.new_context(base_url=house.url, user_agent=USER_AGENT, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_S * 1000)
    context.add_cookies([{"name": "nextbest_customer", "value": person, "url": house.url}])
    page = context.new_page()
    if name != "sign-in":
        page.goto("/console/sign-in")
        page.get_by_role("button", name="Admin").click()
        page.wait_for_url("**/console/agent")
    faults = watched(context, may_be_unreachable=name == "trouble")

    page.goto(PAGES[name].format(customer=person))
    settled(page)

    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert axe_violations(page) == [], (width, scheme)
            shot(page, f"{name}-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for framed in page.frames[1:]:
            assert framed.evaluate("document.documentElement.scrollHeight <= innerHeight"), width
    context.close()
    assert faults == []
