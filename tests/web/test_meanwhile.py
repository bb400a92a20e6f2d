"""The snippet while other things happen: people sign in and out, elements go, requests hang, another tab has a say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.web.script import SOURCE, shorter, tight
from tests.browser import axe_violations, eventually, moved, until
from tests.web.conftest import HERO, PNG, Site
from tests.web.test_browser import OWN, PATIENCE, SETTLED, headline, interactions, know, visit

BERTA = "C-2"
ELEMENT = "<nextbest-placement name=web.hero><h1 data-nextbest-field=headline>Our own</h1></nextbest-placement>"
BOX = ELEMENT.replace("nextbest-placement name=", "div data-nextbest=").replace("/nextbest-placement", "/div")
V_ID = "v-" + "a" * 32


def held(tab: Any, address: str, having: str = "") -> list[Any]:
    """Requests that get no answer until somebody lets them go on."""
    routes: list[Any] = []

    def hold(route: Any) -> None:
        if having in (route.request.post_data or ""):
            routes.append(route)
        else:
            route.fallback()

    tab.context.route(address, hold)
    return routes


def arrived(tab: Any, routes: list[Any]) -> None:
    """Wait for a held request."""
    eventually(lambda: tab.evaluate("1") and routes)


def identify(tab: Any, token: str = "") -> None:
    """Somebody signs in, or out."""
    tab.evaluate("(token) => { nextbest.identify(token); }", token)


def remember(tab: Any, site: Site, token: str, expires_at: str) -> None:
    """The browser was here before."""
    tab.goto(site.put("/before", ""))
    visitor = {"visitor_token": token, "expires_at": expires_at, "visitor_id": V_ID}
    tab.evaluate("(visitor) => { localStorage.nextbest = visitor; }", json.dumps(visitor))


def test_whoever_signs_out_leaves_nothing_though_the_service_is_gone(tab, site, desk):
    visit(tab, site, script=f'data-token="{know(site)}"')
    assert headline(tab) == "Gold, Ann"
    waiting = held(tab, "**/web/**")

    identify(tab)
    arrived(tab, waiting)

    assert headline(tab) == OWN


def test_a_late_answer_for_somebody_else_changes_nothing(tab, site, desk):
    ann, berta = know(site), know(site, BERTA, first_name="Berta")
    late = held(tab, "**/web/decisions", having=ann)
    tab.goto(site.put("/", HERO, script=f'{PATIENCE} data-token="{ann}"'))
    arrived(tab, late)
    identify(tab, berta)
    until(tab, SETTLED)
    assert headline(tab) == "Gold, Berta"

    late[0].continue_()
    until(tab, "window.told.length > 1")

    assert tab.evaluate("window.told") == [["shown", "web.hero"], ["kept", "late"]]
    assert headline(tab) == "Gold, Berta"


def test_a_token_that_comes_late_from_the_site_is_not_of_whoever_signed_in_meanwhile(tab, site, desk):
    ann, berta = know(site), know(site, BERTA, first_name="Berta")
    late = held(tab, "**/token")
    tab.goto(site.put("/", HERO, script=f"{PATIENCE} data-token-url=/token"))
    arrived(tab, late)
    identify(tab, berta)
    until(tab, SETTLED)
    late[0].fulfill(body=ann, content_type="text/plain")
    until(tab, "window.told.length > 1")
    tab.evaluate("nextbest.refresh()")
    until(tab, "window.told.length > 2")

    assert headline(tab) == "Gold, Berta"


def test_the_same_words_are_seen_by_each_who_sees_them(tab, site, desk):
    ann, other = know(site), know(site, BERTA)
    tab.clock.install()
    visit(tab, site, script=f'data-token="{ann}"')
    moved(tab)
    tab.clock.run_for(2_000)
    eventually(lambda: interactions(site) == ["impression"])
    identify(tab, other)
    until(tab, "window.told.length > 1")
    moved(tab)
    tab.clock.run_for(2_000)

    eventually(lambda: interactions(site, BERTA) == ["impression"])


def test_what_is_taken_out_of_the_page_is_no_impression_and_is_decided_anew_when_it_comes_back(tab, site, desk):
    tab.clock.install()
    visit(tab, site, script=f'data-token="{know(site)}"')
    moved(tab)
    tab.clock.run_for(200)
    tab.evaluate("window.hero = document.querySelector('.hero'), hero.remove()")
    until(tab, "new Promise((told) => queueMicrotask(() => told(true)))")
    tab.clock.run_for(3_000)
    assert tab.evaluate("hero.querySelector('h1').textContent") == OWN
    assert interactions(site) == []

    tab.evaluate("document.body.prepend(hero)")
    until(tab, "new Promise((told) => queueMicrotask(() => told(true)))")
    tab.clock.run_for(100)
    until(tab, "window.told.length > 1")

    assert headline(tab) == "Gold, Ann"


def test_a_field_that_goes_while_its_picture_loads_leaves_the_others_in_sight(tab, site, desk):
    loading = held(tab, "https://bank.example/gold.png")
    page = site.put("/", HERO, script=f'{PATIENCE} data-token="{know(site)}"')
    tab.goto(page, wait_until="commit")  # a picture asked for before the page has loaded is part of its loading
    arrived(tab, loading)
    tab.evaluate("document.querySelector('.hero img').remove()")
    for each in loading:
        each.fulfill(body=PNG, content_type="image/png")
    until(tab, SETTLED)

    assert tab.evaluate("window.told") == [["shown", "web.hero"]]
    assert tab.locator(".hero h1").is_visible() and headline(tab) == "Gold, Ann"


def test_whoever_comes_back_after_their_token_has_ended_waits_for_two_answers(tab, site, desk):
    told = []
    know(site, V_ID)
    remember(tab, site, desk.service.seals.seal("visitor", [V_ID, site.origin, 1]), "2026-01-01T00:00:00.000Z")
    tab.on("request", lambda request: told.append(request.url.rpartition("/")[2]) if "/web/" in request.url else None)

    visit(tab, site)

    assert told[:2] == ["visitors", "decisions"] and "decisions" not in told[2:]
    assert tab.evaluate("JSON.parse(localStorage.nextbest).visitor_id") == V_ID


def test_permission_withdrawn_in_one_tab_is_not_given_back_by_another(tab, site, desk):
    remember(tab, site, desk.service.seals.seal("visitor", [V_ID, site.origin, 1]), "2099-01-01T00:00:00.000Z")
    refusing = held(tab, "**/web/decisions")
    tab.goto(site.put("/", HERO, script=PATIENCE))
    arrived(tab, refusing)
    other = tab.context.new_page()
    other.goto(site.put("/other", "", script=PATIENCE))
    until(other, "window.nextbest && !!nextbest.permit")
    other.evaluate("nextbest.permit(false)")
    until(tab, "localStorage.length === 0")  # one tab hears late what another one does

    refusing[0].continue_()  # a 401: the token has ended, and there is a new one to be asked for
    eventually(lambda: tab.evaluate("1") and len(refusing) > 1)
    refusing[1].continue_()
    until(tab, SETTLED)

    assert tab.evaluate("localStorage.length") == 0
    assert V_ID not in refusing[0].request.post_data  # sealed
    assert tab.evaluate("nextbest.permit(false), nextbest.permit(true), JSON.parse(localStorage.nextbest).visitor_id")


def test_a_tab_that_has_not_heard_yet_what_another_has_stored_is_the_same_visitor(tab, site, desk):
    made = []
    tab.context.on("request", lambda request: made.append(request.url) if "/web/visitors" in request.url else None)
    tab.context.add_init_script("window.nextbest = [['permit', true]];")
    tab.context.clock.install()  # what is said for a while is said until the clock says so
    visit(tab, site)
    deaf = tab.context.new_page()
    deaf.add_init_script("Object.defineProperty(window, 'localStorage', {value: {}});")
    visit(deaf, site)

    assert len(made) == 1
    tab.clock.run_for(5_000)
    until(tab, "navigator.locks.query().then(({held}) => held.length === 0)")


def test_permission_withdrawn_while_a_token_is_renewed_stays_withdrawn(tab, site, desk):
    remember(tab, site, desk.service.seals.seal("visitor", [V_ID, site.origin, 1]), "2026-01-01T00:00:00.000Z")
    renewing = held(tab, "**/web/visitors")
    tab.goto(site.put("/", HERO, script=PATIENCE))
    arrived(tab, renewing)
    other = tab.context.new_page()
    other.goto(site.put("/other", ""))
    other.evaluate("delete localStorage.nextbest")
    until(tab, "localStorage.length === 0")
    renewing[0].continue_()
    until(tab, SETTLED)

    assert tab.evaluate("localStorage.length") == 0


def test_a_request_that_hangs_does_not_stop_another_tab(tab, site, desk):
    hanging = held(tab, "**/web/visitors")
    tab.goto(site.put("/", HERO, script="data-deadline=300"))
    until(tab, SETTLED)
    arrived(tab, hanging)
    assert tab.evaluate("window.told") == [["kept", "late"]]
    tab.context.unroute_all()

    other = tab.context.new_page()
    visit(other, site, path="/other")

    assert other.evaluate("window.told[0][0]") == "shown"


def test_one_wrong_name_leaves_the_rest_of_a_page_as_it_is(tab, site, desk):
    wrong = "<p data-nextbest=web.heroo></p><p data-nextbest=email.hero></p>"
    visit(tab, site, HERO + wrong, script=f'data-token="{know(site)}"')
    until(tab, "window.told.length === 3")

    told = dict(tab.evaluate("window.told.map(([what, of]) => [of, what])"))
    assert headline(tab) == "Gold, Ann"
    assert told.pop("web.hero") == "shown"
    assert sorted(told) == ["Pages of this origin may not ask for 'email.hero'.", "Unknown placement 'web.heroo'."]


def test_an_answer_that_got_lost_can_be_given_again(tab, site, desk):
    body = HERO.replace("</section>", "<button data-nextbest-outcome=rejected>No</button></section>")
    visit(tab, site, body=body, script=f'data-token="{know(site)}"')
    tab.route("**/web/responses", lambda route: route.abort(), times=1)

    with tab.expect_event("requestfailed"):
        tab.get_by_role("button", name="No").click()
    tab.get_by_role("button", name="No").click()

    eventually(lambda: tab.evaluate("1") and "rejected" in interactions(site))


@pytest.mark.parametrize("box", [ELEMENT, BOX])
def test_a_box_that_gets_too_small_is_scrolled_by_keys_too_and_moves_nothing(chromium, site, desk, box):
    token = know(site, first_name=" ".join(["Ann"] * 40))
    context = chromium.new_context(bypass_csp=True, viewport={"width": 390, "height": 844})
    context.add_init_script(
        "window.told = []; window.moved = 0; addEventListener('nextbest:shown', () => told.push(1));"
    )
    context.add_init_script(
        "new PerformanceObserver((list) => { for (const each of list.getEntries()) window.moved += each.value; })"
        ".observe({type: 'layout-shift', buffered: true});"
    )
    page = context.new_page()
    visit(
        page, site, f"<main><p>What stands above</p>{box}</main><h3>What follows</h3>", script=f'data-token="{token}"'
    )

    shown = page.locator("[data-nextbest]")
    assert moved(page) == 0
    assert shown.evaluate("node => node.scrollHeight > node.clientHeight && node.tabIndex === 0")
    assert [each for each in axe_violations(page) if "scrollable" in each] == []
    page.evaluate("dispatchEvent(new Event('resize'))")
    assert shown.evaluate("node => node.hasAttribute('tabindex') || node.scrollHeight > node.clientHeight") is False
    context.close()


def test_a_page_that_nobody_looks_at_confirms_no_click(tab, site, desk):
    know(site)
    sent = []
    tab.on("request", lambda request: sent.append(request.post_data) if "/responses" in request.url else None)
    tab.goto(site.put("/landing", "<h1 id=top>Welcome</h1><p>Line</p>" + "<br>" * 200) + "?nextbest=k1.x#top")
    until(tab, "!location.search")
    tab.evaluate("scrollTo(0, 500), dispatchEvent(new PointerEvent('pointermove'))")  # what scripts do is nobody's sign
    moved(tab)
    assert sent == []

    with tab.expect_request("**/web/responses"):
        tab.keyboard.press("Tab")
    tab.mouse.move(5, 5)
    moved(tab)

    assert [json.loads(each)["responses"] for each in sent] == [[{"event_token": "k1.x", "outcome": "clicked"}]]


def test_no_name_that_is_shortened_is_the_browsers(tab, site, desk):
    tab.goto(site.put("/", ""))

    names = [name for name in shorter(tight(SOURCE)) if name != "const"]

    assert len(names) > 40
    assert tab.evaluate("(names) => names.filter((name) => name in window)", names) == []
