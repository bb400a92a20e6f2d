"""The snippet in a real Chromium, on a page of another origin under a strict policy."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from tests.api.desk import KEY
from tests.browser import eventually, moved, until
from tests.web.conftest import HERO, Site

OWN = "Our own"
PATIENCE = 'data-deadline="20000"'  # a busy test machine is no reason to keep the author's content
SETTLED = "window.told.length > 0"


def know(site: Site, customer: str = "C-1", **attributes: Any) -> str:
    """A customer whom the bank knows, and the token of their browser."""
    known = {"age": 40, "income": 3000.0, "tier": "classic", "first_name": "Ann", "suspicious": False, **attributes}
    with httpx.Client(base_url=site.service, headers=KEY) as http:
        assert http.patch(f"/v1/customers/{customer}", json={"attributes": known}).status_code == 200
        body = {"customer": {"id": customer}, "origin": site.origin}
        return str(http.post("/v1/visitor-tokens", json=body).json()["visitor_token"])


def interactions(site: Site, customer: str = "C-1") -> list[str]:
    answer = httpx.get(f"{site.service}/v1/customers/{customer}", headers=KEY).json()
    return [each["outcome"] for each in answer["interactions"] if each["outcome"] != "selected"]


def visit(tab, site: Site, body: str = HERO, script: str = "", path: str = "/") -> None:
    tab.goto(site.put(path, body, script=f"{PATIENCE} {script}"))
    until(tab, SETTLED)


def headline(tab) -> str:
    return str(tab.locator("h1").inner_text())


def test_fields_are_filled_in_place_and_nothing_moves(tab, site, desk):
    token = know(site)
    visit(tab, site, script=f'data-token="{token}"')

    assert headline(tab) == "Gold, Ann"
    assert (
        tab.locator(".hero div").inner_html() == '<p>Dear <b>Ann</b>, <a href="https://bank.example/gold">look</a></p>'
    )
    assert tab.locator(".hero li").all_inner_texts() == ["For Ann", "No fee"]
    assert tab.locator("img").get_attribute("src") == "https://bank.example/gold.png"
    assert tab.locator("img").get_attribute("alt") == ""
    link = tab.locator("a[data-nextbest-field]")
    assert (link.inner_text(), link.get_attribute("href")) == ("Take Ann", "https://bank.example/cards?for=Ann")
    assert moved(tab) == 0


@pytest.mark.parametrize("words", [1, 60])
def test_whatever_the_length_what_stands_below_does_not_move(tab, site, desk, words):
    token = know(site, first_name=" ".join(["Ann"] * words))
    body = HERO.replace("Our own words", "Our own words " * 5)
    tab.goto(site.put("/", body, script=f'{PATIENCE} data-token="{token}"'))
    top = tab.evaluate("document.querySelector('#below').getBoundingClientRect().top")
    until(tab, SETTLED)

    assert headline(tab).startswith("Gold")
    assert tab.evaluate("document.querySelector('#below').getBoundingClientRect().top") == top
    assert moved(tab) == 0


def test_nothing_keeps_the_authors_content(tab, site, desk):
    token = know(site, age=17)
    with httpx.Client(base_url=site.service, headers=KEY) as http:
        said = [{"channel": "web", "purpose": purpose, "granted": False} for purpose in ("marketing", "service")]
        assert http.put("/v1/customers/C-1/consents", json=said).status_code == 200

    visit(tab, site, script=f'data-token="{token}"')

    assert tab.evaluate("window.told") == [["kept", "nothing"]]
    assert headline(tab) == OWN
    assert moved(tab) == 0


def test_an_answer_after_the_deadline_changes_nothing(tab, site, desk):
    token = know(site)
    read, may_answer, answered = desk.store.read, threading.Event(), threading.Event()

    async def slow(*args, **more):
        await asyncio.to_thread(may_answer.wait)
        found = await read(*args, **more)
        answered.set()
        return found

    desk.store.read = slow
    tab.goto(site.put("/", HERO, script=f'data-deadline="200" data-token="{token}"'))
    until(tab, SETTLED)
    assert headline(tab) == OWN
    may_answer.set()
    assert answered.wait(20)
    moved(tab)  # two frames later

    assert tab.evaluate("window.told") == [["kept", "late"]]
    assert headline(tab) == OWN


def test_on_a_slow_network_the_authors_content_stands_while_it_waits(tab, site, desk):
    token = know(site)
    held = []
    tab.route("**/web/decisions", lambda route: held.append(route))

    tab.goto(site.put("/", HERO, script=f'{PATIENCE} data-token="{token}"'))
    until(tab, "performance.getEntriesByName('first-contentful-paint').length === 1")
    eventually(lambda: tab.evaluate("1") and held)
    assert headline(tab) == OWN
    held[0].continue_()
    until(tab, SETTLED)

    assert headline(tab) == "Gold, Ann"
    assert moved(tab) == 0


def test_a_picture_that_does_not_load_is_named_and_keeps_the_authors_content(tab, site, desk):
    tab.route("https://bank.example/gold.png", lambda route: route.abort())
    visit(tab, site, script=f'data-token="{know(site)}"')

    assert tab.evaluate("window.told") == [["kept", "picture https://bank.example/gold.png"]]
    assert headline(tab) == OWN


def test_with_the_store_down_the_authors_content_stays(tab, site, desk):
    token = know(site)

    async def down(*_, **__):
        raise RuntimeError("stopped")

    desk.store.read = down
    visit(tab, site, script=f'data-token="{token}"')

    assert tab.evaluate("window.told") == [["kept", "trouble"]]
    assert headline(tab) == OWN


def test_with_the_service_gone_the_authors_content_stays(tab, site, desk):
    tab.route(f"{site.service}/nextbest.js", lambda route: route.abort())
    tab.goto(site.put("/", HERO))
    tab.unroute_all()
    assert headline(tab) == OWN

    tab.route("**/web/**", lambda route: route.abort())
    visit(tab, site, path="/again")

    assert headline(tab) == OWN
    assert tab.evaluate("window.told[0][0]") == "kept"


def test_without_scripts_the_page_is_as_its_author_wrote_it(chromium, site, desk):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.put("/", HERO))

    assert page.locator("h1").inner_text() == OWN
    context.close()


def test_without_permission_nothing_is_stored_and_with_it_two_tabs_are_one_visitor(tab, site, desk):
    visit(tab, site)
    assert tab.evaluate("localStorage.length") == 0
    first = tab.evaluate("nextbest.permit(true), JSON.parse(localStorage.nextbest).visitor_id")

    other = tab.context.new_page()
    other.add_init_script("window.told = []; addEventListener('nextbest:shown', () => window.told.push(1));")
    other.goto(site.put("/", HERO, script=PATIENCE))
    until(other, SETTLED)

    assert other.evaluate("JSON.parse(localStorage.nextbest).visitor_id") == first
    assert other.evaluate("nextbest.permit(false), localStorage.length") == 0


def test_two_first_tabs_that_open_at_once_with_permission_are_one_visitor(tab, site, desk):
    made = []
    tab.context.on("request", lambda request: made.append(request.url) if "/web/visitors" in request.url else None)
    early = "window.nextbest = [['permit', true]];"
    tabs = [tab.context.new_page() for _ in range(2)]
    for each in tabs:
        each.add_init_script(early)
        each.add_init_script("window.told = []; addEventListener('nextbest:shown', () => window.told.push(1));")
        each.goto(site.put("/", HERO, script=PATIENCE), wait_until="commit")
    for each in tabs:
        until(each, SETTLED)

    assert len(made) == 1


def test_pages_that_change_by_themselves_are_filled_too(tab, site, desk):
    token = know(site)
    visit(tab, site, body="<main></main><p data-nextbest=web.tile></p>", script=f'data-token="{token}"')

    tab.evaluate(
        "document.querySelector('main').innerHTML ="
        " '<nextbest-placement name=web.hero><b data-nextbest-field=headline>Own</b></nextbest-placement>'"
    )
    until(tab, "document.querySelector('b').textContent !== 'Own'")
    shown = tab.locator("b").inner_text()
    tab.evaluate("document.querySelector('b').textContent = 'drawn again', nextbest.refresh()")
    until(tab, "document.querySelector('b').textContent !== 'drawn again'")

    assert shown in ("Gold, Ann", "Silver")
    assert tab.locator("b").inner_text() == shown


def test_all_placements_of_a_page_are_asked_for_in_one_call_and_repeats_take_the_next_rank(tab, site, desk):
    calls = []
    tab.on("request", lambda request: calls.append(request.post_data_json) if "/web/decisions" in request.url else None)
    token = know(site)

    visit(tab, site, body=f"{HERO}<div data-nextbest=web.tile></div>{HERO}", script=f'data-token="{token}"')
    until(tab, "window.told.length === 3")

    assert [call["placements"] for call in calls] == [["web.hero", "web.tile"]]
    assert tab.locator("h1").all_inner_texts() == ["Gold, Ann", OWN]


def test_what_was_in_sight_for_a_second_is_an_impression_and_what_was_not_is_none(tab, site, desk):
    token = know(site)
    far = "<div data-nextbest=web.tile id=far><b data-nextbest-field=headline>Own</b></div>"
    far = "<p>Line</p>" * 100 + far
    tab.clock.install()
    visit(tab, site, body=HERO + far, script=f'data-token="{token}"')
    moved(tab)  # two frames later it is known what is in sight
    tab.clock.run_for(60_000)
    eventually(lambda: interactions(site) == ["impression"])
    tab.locator("#far").scroll_into_view_if_needed()
    moved(tab)
    tab.clock.run_for(1_000)

    eventually(lambda: interactions(site) == ["impression", "impression"])


def test_what_stays_the_same_when_it_is_decided_anew_is_seen_once(tab, site, desk):
    token = know(site)
    tab.clock.install()
    visit(tab, site, script=f'data-token="{token}"')
    for turn in range(1, 4):
        moved(tab)  # two frames later it is known what is in sight
        tab.clock.run_for(2_000)
        eventually(lambda: "impression" in interactions(site))
        tab.evaluate("nextbest.refresh()")
        until(tab, f"window.told.length > {turn}")
    assert interactions(site) == ["impression"]

    tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")  # seen by whoever came back
    until(tab, "window.told.length > 4")
    moved(tab)
    tab.clock.run_for(2_000)

    eventually(lambda: interactions(site) == ["impression", "impression"])


def test_a_click_is_told_once_though_the_page_is_left(tab, site, desk):
    token = know(site)
    visit(tab, site, script=f'data-token="{token}"')

    tab.evaluate("document.querySelector('a[data-nextbest-field]').click()")  # by a script: nobody's click
    tab.wait_for_url("https://bank.example/**")
    assert interactions(site) == []
    visit(tab, site, script=f'data-token="{token}"')
    tab.locator("a[data-nextbest-field]").click()

    eventually(lambda: "clicked" in interactions(site))
    assert interactions(site).count("clicked") == 1


def test_an_answer_in_the_page_makes_it_decide_anew(tab, site, desk):
    token = know(site)
    body = HERO.replace("</section>", "<button data-nextbest-outcome=accepted>Yes</button></section>")
    visit(tab, site, body=body, script=f'data-token="{token}"')
    assert headline(tab) == "Gold, Ann"

    tab.get_by_role("button", name="Yes").click()
    until(tab, "document.querySelector('h1').textContent !== 'Gold, Ann'")

    assert "accepted" in interactions(site)
    assert tab.locator("img").evaluate("node => node.style.visibility") == "hidden"


def test_what_was_shown_and_is_shown_no_more_gives_way_to_the_authors_content(tab, site, desk):
    token = know(site)
    visit(tab, site, script=f'data-token="{token}"')
    before = tab.locator(".hero").inner_html()
    with httpx.Client(base_url=site.service, headers=KEY) as http:
        http.put("/v1/customers/C-1/consents", json=[{"channel": "web", "purpose": "marketing", "granted": False}])

    tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")  # back from the cache
    until(tab, f"document.querySelector('h1').textContent === '{OWN}'")

    assert before != tab.locator(".hero").inner_html()
    assert tab.locator(".hero div").inner_html() == "Our own words, <i>as written</i>"
    assert tab.locator("img").get_attribute("alt") == "Our own picture"
    assert tab.locator("a").get_attribute("href") == "/own"


def test_a_click_in_a_mail_is_confirmed_and_leaves_the_address(tab, site, desk):
    know(site)
    body = {"customer": {"id": "C-1"}, "channel": "email", "placements": ["email.hero"]}
    answer = httpx.post(f"{site.service}/v1/decisions", json=body, headers=KEY).json()
    event = answer["placements"][0]["event_token"]

    tab.goto(site.put("/landing", "<h1>Welcome</h1>") + f"?a=1&nextbest={event}&b=%20x#top")
    until(tab, "!location.search.includes('nextbest')")

    assert tab.evaluate("location.search + location.hash") == "?a=1&b=%20x#top"
    tab.mouse.move(5, 5)
    eventually(lambda: interactions(site) == ["clicked"])


def test_people_who_render_themselves_get_json_and_no_errors(tab, site, desk):
    token = know(site)
    tab.goto(site.put("/", "<h1>Own</h1>", script=f'{PATIENCE} data-token="{token}"'))
    until(tab, "window.nextbest && nextbest.decide")

    answer = tab.evaluate("nextbest.decide(['web.hero'])")
    counted = tab.evaluate("(token) => nextbest.respond(token, 'accepted')", answer["placements"][0]["event_token"])
    unknown = tab.evaluate("nextbest.decide(['web.footer'])")

    assert answer["placements"][0]["content"]["headline"] == "Gold, Ann"
    assert counted == {"responses": [{"status": "counted"}]}
    assert (unknown["fallback"], unknown["placements"]) == (True, []) and "footer" in unknown["why"]


def test_a_token_that_has_expired_is_fetched_anew_from_the_site(tab, site, desk):
    token = know(site)
    late = desk.service.seals.seal("visitor", ["C-1", site.origin, 1])
    tab.route("**/token", lambda route: route.fulfill(body=f"{token}\n", content_type="text/plain"))

    visit(tab, site, script=f'data-token="{late}" data-token-url="{site.service}/token"')

    assert headline(tab) == "Gold, Ann"


def test_an_expired_token_without_a_way_to_a_new_one_makes_nobody_anonymous(tab, site, desk):
    know(site)
    late = desk.service.seals.seal("visitor", ["C-1", site.origin, 1])

    visit(tab, site, script=f'data-token="{late}"')

    assert tab.evaluate("window.told") == [["kept", "expired"]]
    assert headline(tab) == OWN


def test_an_anonymous_visitor_who_is_erased_is_somebody_new_on_the_open_page(tab, site, desk):
    tab.add_init_script("window.nextbest = [['permit', true]];")
    visit(tab, site)
    first = tab.evaluate("JSON.parse(localStorage.nextbest).visitor_id")
    late = "{...JSON.parse(localStorage.nextbest), expires_at: '2026-01-01'}"
    tab.evaluate(f"localStorage.nextbest = JSON.stringify({late})")
    tab.evaluate("nextbest.refresh()")  # with a token of somebody who is known by now
    assert httpx.delete(f"{site.service}/v1/customers/{first}", headers=KEY).json()["erased"]

    tab.evaluate("nextbest.refresh()")

    assert tab.evaluate("window.told.map(([what]) => what)") == ["shown"] * 3
    assert tab.evaluate("JSON.parse(localStorage.nextbest).visitor_id") != first
    assert httpx.get(f"{site.service}/v1/customers/{first}", headers=KEY).status_code == 404


def test_a_signed_in_customer_who_is_erased_is_shown_the_authors_own(tab, site, desk):
    token = know(site)
    assert httpx.delete(f"{site.service}/v1/customers/C-1", headers=KEY).json()["erased"]

    visit(tab, site, script=f'data-token="{token}"')

    assert tab.evaluate("window.told") == [["kept", "expired"]]
    assert headline(tab) == OWN
    assert httpx.get(f"{site.service}/v1/customers/C-1", headers=KEY).status_code == 404


def test_whoever_signs_in_without_a_new_page_is_decided_for_from_then_on(tab, site, desk):
    visit(tab, site)
    token = know(site)

    tab.evaluate("(token) => nextbest.identify(token)", token)

    until(tab, "document.querySelector('h1').textContent === 'Gold, Ann'")
