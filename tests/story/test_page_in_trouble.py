"""A bank's own page, on its own server, while scripts, service or network are missing, slow or silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import CHROMIUM, OPTIONS, eventually, moved, settled, shot, until, watched
from tests.story.conftest import USER_AGENT
from tests.story.house import House
from tests.web.conftest import Site

OWN, OFFERED = "Our own", "Alice, gold suits you"
PATIENCE = 'data-deadline="20000"'
HERO = """
<section class="hero" data-nextbest="web.home.hero">
<h1 data-nextbest-field="headline">Our own</h1>
<p data-nextbest-field="body">Our own words, as written</p>
<a data-nextbest-field="cta" href="/own">Our own link</a>
</section>
"""

# Tells the site whether the page came out of the browser's cache, and what it shows once it has been decided.
TELLING = """
let persisted = false;
addEventListener("pageshow", (event) => { persisted = event.persisted; });
for (const name of ["shown", "kept"]) addEventListener("nextbest:" + name, () => setTimeout(() =>
  fetch(`/came/${persisted}/${document.querySelector("h1").textContent.includes("gold") ? "gold" : "other"}`)));
"""


@pytest.fixture
def tab(chromium, house: House, site: Site) -> Iterator[Any]:
    """A page of a fresh profile, on a site that loads the snippet from the house."""
    site.service = house.url
    context = chromium.new_context(user_agent=USER_AGENT)
    faults = watched(context, may_be_unreachable=True)
    yield context.new_page()
    context.close()
    assert faults == []


def page_for(house: House, site: Site, person: str, script: str = PATIENCE) -> str:
    return site.put("/", HERO, script=f'{script} data-token="{house.visitor_token(person, site.origin)}"')


def headline(page: Any) -> str:
    return str(page.locator("h1").inner_text())


def test_without_scripts_every_page_works_by_links_and_forms(chromium, house: House, person):
    context = chromium.new_context(base_url=house.url, user_agent=USER_AGENT, java_script_enabled=False)
    context.add_cookies([{"name": "nextbest_customer", "value": person, "url": house.url}])
    page = context.new_page()
    page.goto("/")
    page.goto("/demo/bank")
    assert page.get_by_role("heading", name="Good morning, Alice").is_visible()
    page.goto("/demo/inbox")
    shot(page, "without-scripts-inbox")
    page.locator(".mail a").click()
    page.get_by_role("heading", name="Gold upgrade").wait_for()
    page.goto(f"/console/agent?customer={person}")
    assert page.locator(".lead h2").inner_text() == "Gold upgrade"

    page.get_by_role("button", name="Send the form").click()

    assert page.locator(".lead h2").inner_text() != "Gold upgrade"
    assert ("call_center", "accepted") in house.interactions(person)
    shot(page, "without-scripts-agent")
    context.close()


def test_a_service_that_accepts_and_never_answers_leaves_the_authors_content(tab, house: House, site, person):
    tab.goto(page_for(house, site, person))
    settled(tab)
    assert headline(tab) == OFFERED
    hasty = page_for(house, site, person, 'data-deadline="300"')
    house.pause()
    try:
        tab.goto(hasty)  # the script is in the browser's cache, as on every second page
        assert headline(tab) == OWN
        until(tab, "window.told.length === 1")
        assert tab.evaluate("window.told") == [["kept", "late"]]
        assert (headline(tab), moved(tab)) == (OWN, 0)
        shot(tab, "service-silent")
    finally:
        house.resume()

    tab.goto(page_for(house, site, person))
    settled(tab)
    assert headline(tab) == OFFERED


def test_a_script_that_never_comes_holds_nothing_up(tab, house: House, site, person):
    house.pause()
    try:
        tab.goto(site.put("/no-script", HERO), wait_until="domcontentloaded")
        until(tab, "performance.getEntriesByName('first-contentful-paint').length === 1")

        assert (headline(tab), moved(tab)) == (OWN, 0)
        assert tab.evaluate("typeof window.nextbest") == "undefined"
    finally:
        house.resume()


def test_what_is_accepted_in_one_tab_is_gone_from_the_other_when_it_is_seen_again(tab, house: House, site, person):
    body = HERO.replace("</section>", "<button data-nextbest-outcome=accepted>Yes</button></section>")
    token = house.visitor_token(person, site.origin)
    address = site.put("/tabs", body, script=f'{PATIENCE} data-token="{token}"')
    other = tab.context.new_page()
    for each in (tab, other):
        each.goto(address)
        settled(each)
        assert headline(each) == OFFERED

    tab.get_by_role("button", name="Yes").click()
    until(tab, f"document.querySelector('h1').textContent !== '{OFFERED}'")
    other.reload()
    settled(other)

    assert headline(other) != OFFERED
    assert house.interactions(person).count(("web", "accepted")) == 1


@pytest.mark.parametrize(("deadline_ms", "shown"), [(20_000, OFFERED), (150, OWN)])
def test_on_a_slow_network_the_authors_content_comes_first(tab, house: House, site, person, deadline_ms, shown):
    address = page_for(house, site, person, f'data-deadline="{deadline_ms}"')
    network = tab.context.new_cdp_session(tab)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": 40_000, "uploadThroughput": 20_000}
    network.send("Network.emulateNetworkConditions", slow)  # a telephone at the edge of its cell

    tab.goto(address, wait_until="commit")
    settled(tab)

    assert headline(tab) == shown
    assert moved(tab) == 0
    times = tab.evaluate(
        "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
        " performance.getEntriesByType('resource').find((each) => each.name.includes('/web/decisions'))?.startTime]"
    )
    assert times[1] is None or times[0] <= times[1] + 1


def test_a_page_that_comes_back_from_the_cache_decides_anew(chromium, house: House, site, person, monkeypatch):
    site.service = house.url
    cached = [
        "--disable-back-forward-cache"
    ]  # which Playwright switches off, and cannot look into what comes out of it
    heard: list[str] = []
    answer = site.answer
    monkeypatch.setattr(site, "answer", lambda path: heard.append(path) or answer(path))
    with chromium.browser_type.launch(executable_path=CHROMIUM, args=OPTIONS, ignore_default_args=cached) as browser:
        page = browser.new_page(user_agent=USER_AGENT)
        page.add_init_script(TELLING)
        page.goto(page_for(house, site, person))
        eventually(lambda: "/came/false/gold" in heard)
        eventually(lambda: ("web", "impression") in house.interactions(person))
        page.goto(site.put("/elsewhere", "<h1>Elsewhere</h1>"))
        withdrawn = [{"channel": "web", "purpose": "marketing", "granted": False}]
        house.http.put(f"/v1/customers/{person}/consents", json=withdrawn).raise_for_status()

        page.evaluate("void setTimeout(() => history.back())")

        eventually(lambda: "/came/true/other" in heard)
