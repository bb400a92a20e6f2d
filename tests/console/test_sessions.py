"""Signing in: sessions, roles, forms and the throttle."""

from __future__ import annotations

import asyncio
import re

import pytest

from api.cli.users import check_language
from api.console.attempts import Attempts
from api.console.pages import pages
from api.console.sessions import IDLE_MS, SESSION_MS
from api.console.users import add_user, known_users, remove_user
from api.instants import wall_ms
from api.publications import publish_strategy
from api.throttle import network_of
from decisioning.catalog.load import load_bundle
from decisioning.errors import NextbestError
from decisioning.store.memory import MemoryStore
from tests.console.office import Office, token_in, value_of
from tests.decisioning.bank import FILES

pytestmark = pytest.mark.anyio
AGENT_PAGE = "/console/agent"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Users are read at every request, as they are after a second."""
    monkeypatch.setattr("api.console.users.REFRESH_S", 0.0)


async def test_a_page_with_roles_leads_to_the_sign_in_and_back():
    office = Office()

    answer = await office.get("/console/agent?customer=C-1")
    assert answer.status_code == 303
    form = await office.get(answer.headers["location"])
    await office.desk.know()
    password = await add_user(office.desk.store, "ann", "agent")
    fields = {"csrf": token_in(form.text), "next": "/console/agent?customer=C-1", "user": "ann", "password": password}
    signed_in = await office.browser.post("/console/sign-in", data=fields)

    assert signed_in.headers["location"] == "/console/agent?customer=C-1"
    assert (await office.get(signed_in.headers["location"])).status_code == 200


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_nowhere_else(target):
    office = Office(demo=True)

    answer = await office.send("/console/sign-in", "/console/sign-in", role="agent", next=target)

    assert answer.headers["location"] == AGENT_PAGE


async def test_the_cookie_is_out_of_reach_of_scripts_and_stays_on_this_site():
    office = Office()
    password = await add_user(office.desk.store, "ann", "agent")

    answer = await office.send("/console/sign-in", "/console/sign-in", user="ann", password=password)

    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert "ann" not in cookie


async def test_a_forged_session_opens_nothing():
    office = Office()
    await office.sign_in()
    sealed = office.browser.cookies["nextbest_session"]
    for forged in (sealed[:-2] + "AA", sealed[:20], "k1.", "", office.desk.service.seals.seal("event", ["agent"])):
        office.browser.cookies.clear()
        office.browser.cookies.set("nextbest_session", forged, domain="localhost.local")
        assert (await office.get(AGENT_PAGE)).status_code == 303


async def test_a_session_ends_when_its_user_is_removed():
    office = Office()
    await office.sign_in("analyst")
    assert (await office.get(AGENT_PAGE)).status_code == 200

    await remove_user(office.desk.store, "analyst")

    assert (await office.get(AGENT_PAGE)).status_code == 303


async def test_signing_out_ends_the_session():
    office = Office()
    await office.sign_in()

    await office.send(AGENT_PAGE, "/console/sign-out")

    assert (await office.get(AGENT_PAGE)).status_code == 303


async def test_a_wrong_password_and_an_unknown_name_look_the_same():
    office = Office()
    await add_user(office.desk.store, "ann", "agent")

    answers = [
        await office.send("/console/sign-in", "/console/sign-in", user=user, password="guess")
        for user in ("ann", "bob")
    ]

    assert {each.status_code for each in answers} == {401}
    assert len({re.sub(r'value="[^"]*"', "", each.text) for each in answers}) == 1


async def attempt(office: Office, user: str, password: str):
    return await office.send("/console/sign-in", "/console/sign-in", user=user, password=password)


async def test_after_five_failures_even_the_right_password_waits_but_not_elsewhere():
    office = Office()
    password = await add_user(office.desk.store, "ann", "agent")
    for _ in range(5):
        await attempt(office, "ann", "guess")

    here = await attempt(office, "ann", password)
    office.browser = office.new_browser("10.0.0.9")
    elsewhere = await attempt(office, "ann", password)

    assert (here.status_code, here.headers["retry-after"]) == (429, "60")
    assert elsewhere.status_code == 303


async def test_signing_in_counts_against_nobody():
    office = Office()
    password = await add_user(office.desk.store, "ann", "agent")

    answers = [await attempt(office.fresh(), "ann", password) for _ in range(8)]

    assert {each.status_code for each in answers} == {303}


def test_guesses_of_one_name_from_ever_new_addresses_come_to_an_end():
    attempts = Attempts()

    allowed = [attempts.allows("ann", f"10.0.{number}.1") for number in range(200)]

    assert sum(allowed) == 100


def test_an_address_of_ipv6_counts_with_its_neighbours():
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:1:ffff::2") != network_of("2001:db8:0:2::1")
    assert network_of("::ffff:10.0.0.9") == network_of("10.0.0.9") == "10.0.0.9"


async def test_a_name_that_nobody_can_have_is_not_remembered():
    office = Office()

    answers = [await attempt(office, f"{number}{'x' * 15_000}", "guess") for number in range(6)]

    assert [each.status_code for each in answers] == [401] * 5 + [429]  # all are one name


async def test_signing_in_failing_and_signing_out_leave_a_line_in_the_log(caplog):
    caplog.set_level("INFO", "nextbest")
    office = Office()
    await office.sign_in()
    await attempt(office.fresh(), "agent", "guess")
    await office.send(AGENT_PAGE, "/console/sign-out")

    lines = "\n".join(caplog.messages)
    for told in ("agent signed in from", "sign-in of agent from 127.0.0.1 failed", "agent signed out from"):
        assert told in lines


async def test_signing_out_ends_every_copy_of_the_cookie():
    office = Office()
    await office.sign_in()
    copy = office.fresh()
    copy.browser.cookies = office.browser.cookies
    assert (await copy.get(AGENT_PAGE)).status_code == 200
    kept = dict(office.browser.cookies)

    await office.send(AGENT_PAGE, "/console/sign-out")

    replayed = office.fresh()
    replayed.browser.cookies.update(kept)
    assert (await replayed.get(AGENT_PAGE)).status_code == 303


async def test_a_session_that_nobody_uses_ends_and_one_that_is_used_goes_on(monkeypatch):
    office = Office()
    await office.desk.know()
    await office.sign_in()
    clock = [wall_ms()]
    monkeypatch.setattr("api.console.sessions.wall_ms", lambda: clock[0])

    for _ in range(4):
        clock[0] += IDLE_MS // 2
        assert (await office.get(AGENT_PAGE)).status_code == 200
    clock[0] += IDLE_MS // 2
    assert (await office.get("/console/agent/pulse?customer=C-1")).status_code == 204  # a screen that is left open
    clock[0] += IDLE_MS // 2

    assert (await office.get(AGENT_PAGE)).status_code == 303


async def test_a_session_ends_after_hours_however_much_it_is_used(monkeypatch):
    office = Office()
    await office.sign_in()
    start_ms = wall_ms()
    clock = [start_ms]
    monkeypatch.setattr("api.console.sessions.wall_ms", lambda: clock[0])
    statuses = []

    while clock[0] < start_ms + SESSION_MS:
        clock[0] += IDLE_MS // 2
        statuses.append((await office.get(AGENT_PAGE)).status_code)

    assert statuses[-2:] == [200, 303]


async def test_the_first_requests_of_a_process_all_know_who_asks(monkeypatch):
    office = Office()
    await office.sign_in()
    monkeypatch.setattr("api.console.users.REFRESH_S", 1.0)
    another = office.another_process()
    get, asked = office.desk.store.get, asyncio.Event()

    async def slow(kind: str, name: str) -> bytes | None:
        asked.set()
        await asyncio.sleep(0)
        return await get(kind, name)

    monkeypatch.setattr(office.desk.store, "get", slow)
    answers = await asyncio.gather(*(another.get(AGENT_PAGE) for _ in range(4)))

    assert asked.is_set() and [each.status_code for each in answers] == [200] * 4


async def test_pages_of_an_earlier_session_of_the_same_user_still_send_their_forms():
    office = Office()
    password = await office.sign_in()
    token = token_in((await office.get(AGENT_PAGE)).text)
    again = office.fresh()
    await attempt(again, "agent", password)

    answer = await again.browser.post("/console/agent/answers", data={"csrf": token})

    assert answer.status_code != 403


async def test_an_answer_after_the_session_leads_back_to_its_page_and_says_that_it_is_lost():
    office = Office()
    page = "http://localhost:8080/console/agent?customer=C-1"

    answer = await office.browser.post(
        "/console/agent/answers", data={}, headers={"hx-request": "true", "hx-current-url": page}
    )
    form = await office.get(answer.headers["hx-redirect"])

    assert 'value="/console/agent?customer=C-1"' in form.text
    assert "was not taken" in form.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("link", [f"{AGENT_PAGE}?customer=C-1", f"/console/sign-in?next={AGENT_PAGE}%3Fcustomer%3DC-1"])
async def test_a_link_on_another_site_asks_nothing_by_way_of_the_sign_in(link, site):
    office = Office()
    await office.desk.know()
    password = await add_user(office.desk.store, "ann", "agent")
    elsewhere = {"sec-fetch-site": site}

    form = await office.get(link, **elsewhere)
    if form.status_code == 303:  # which a browser follows as still from elsewhere
        assert "C-1" not in form.headers["location"]
        form = await office.get(form.headers["location"], **elsewhere)
    fields = {"csrf": token_in(form.text), "next": value_of("next", form.text), "user": "ann", "password": password}
    signed_in = await office.browser.post("/console/sign-in", data=fields, headers={"sec-fetch-site": "same-origin"})
    again = await office.get(f"/console/sign-in?next={AGENT_PAGE}%3Fcustomer%3DC-1", **elsewhere)

    assert [each.headers["location"] for each in (signed_in, again)] == [AGENT_PAGE, AGENT_PAGE]


async def test_a_form_from_elsewhere_changes_nothing():
    office = Office()
    await office.sign_in()
    token = token_in((await office.get(AGENT_PAGE)).text)

    refused = [
        await office.browser.post("/console/sign-out", data={}),
        await office.browser.post("/console/sign-out", data={"csrf": token + "x"}),
        await office.browser.post(
            "/console/sign-out", data={"csrf": token}, headers={"origin": "https://evil.example"}
        ),
    ]

    assert [each.status_code for each in refused] == [403, 403, 403]
    assert (await office.get(AGENT_PAGE)).status_code == 200


async def test_every_form_of_the_console_asks_for_its_token():
    office = Office()
    await office.sign_in("admin")

    for each in pages(office.desk.service):
        if each.method == "POST":
            assert (await office.browser.post(each.path, data={})).status_code == 403, each.path


async def test_every_page_has_the_strict_headers():
    office = Office()
    await office.sign_in("admin")

    for each in pages(office.desk.service):
        if each.method == "GET":
            answer = await office.get(each.path.replace("{name}", "style.css"))
            policy = answer.headers["content-security-policy"]
            if each.path == "/console/preview.html":  # a mail's own styles, in a frame that runs nothing
                assert "sandbox" in policy and "script-src" not in policy
            else:
                assert "script-src 'self';" in policy and "unsafe" not in policy, each.path
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_no_page_needs_what_the_policy_forbids():
    office = Office(demo=True)
    await office.sign_in("admin")
    await office.desk.know()

    for path in ("/console/agent?customer=C-1", "/docs", "/console/sign-in", "/"):
        html = (await office.get(path)).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", html), path
        assert not re.search(r'(?:src|href)="https?:', html), path


async def test_the_demo_signs_in_from_this_machine_alone():
    office = Office(demo=True)
    away = office.new_browser("10.0.0.9")

    assert "This is the demo" in (await office.get("/console/sign-in")).text
    assert "This is the demo" not in (await away.get("/console/sign-in")).text
    renamed = await office.get("/console/sign-in", host="evil.example:8080")
    assert "This is the demo" not in renamed.text


async def test_a_demo_session_opens_nothing_outside_the_demo():
    office = Office(demo=True)
    await office.send("/console/sign-in", "/console/sign-in", role="admin")
    assert (await office.get(AGENT_PAGE)).status_code == 200

    again = Office(desk=office.desk)
    again.browser.cookies = office.browser.cookies

    assert (await again.get(AGENT_PAGE)).status_code == 303


async def test_a_user_needs_a_free_and_simple_name():
    office = Office()
    await add_user(office.desk.store, "ann", "agent")

    for name in ("ann", "Ann", "a b", "", "demo/agent"):
        with pytest.raises(NextbestError):
            await add_user(office.desk.store, name, "agent")


async def test_a_password_is_stored_as_its_hash_alone():
    office = Office()

    password = await add_user(office.desk.store, "ann", "agent", "de")

    assert password.encode() not in (await office.desk.store.get("user", "ann") or b"")
    assert (await known_users(office.desk.store))["ann"].knows(password)


async def test_files_of_ours_may_be_kept_for_ever_under_their_version_only():
    office = Office()
    page = await office.get("/console/sign-in")
    (named,) = re.findall(r'href="(/console/static/style.css[^"]*)"', page.text)

    assert "immutable" in (await office.get(named)).headers["cache-control"]
    assert (await office.get("/console/static/style.css")).headers["cache-control"] == "no-cache"
    assert (await office.get("/console/static/passwd")).status_code == 404


async def test_a_user_speaks_a_language_of_the_strategy():
    store, files = MemoryStore(), {path: text.encode() for path, text in FILES.items()}
    with pytest.raises(NextbestError, match="Publish it first"):
        await check_language(store, "hu")
    await publish_strategy(store, files, load_bundle(files))

    await check_language(store, "hu")
    await check_language(store, "hu-HU")
    with pytest.raises(NextbestError, match="speaks no 'xx-klingon'"):
        await check_language(store, "xx-klingon")


async def test_somebody_whose_name_begins_like_the_demos_signs_out_everywhere() -> None:
    office = Office()
    password = await add_user(office.desk.store, "demo-anna", "agent")
    await office.send("/console/sign-in", "/console/sign-in", user="demo-anna", password=password)
    copied = dict(office.browser.cookies)
    await office.send(AGENT_PAGE, "/console/sign-out")
    other = office.new_browser()
    other.cookies.update(copied)

    assert (await other.get(AGENT_PAGE)).status_code == 303


async def test_no_cookie_is_unquoted(monkeypatch) -> None:
    """Python before 3.11.10 takes seconds for one of 64 KiB, and whoever sends it needs no session."""
    monkeypatch.setattr("http.cookies._unquote", lambda text: pytest.fail(text))
    office = Office(demo=True)

    for path in ("/console/sign-in", AGENT_PAGE, "/"):
        answer = await office.fresh().get(path, cookie='a="\\"\\""; nextbest_form="\\"; nextbest_customer="\\054"')
        assert answer.status_code in (200, 303)


async def test_cookies_beside_ours_disturb_nothing() -> None:
    office = Office()
    await office.sign_in()
    ours = office.browser.cookies["nextbest_session"]

    for cookies in (
        'theirs="a; b"; nextbest_session={}',
        "lone;;nextbest_session = {} ;=x",
        "nextbest_session={}; a=b=c",
    ):
        assert (await office.fresh().get(AGENT_PAGE, cookie=cookies.format(ours))).status_code == 200, cookies
