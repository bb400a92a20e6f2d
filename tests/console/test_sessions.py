"""Signing in: sessions, roles, forms and the throttle."""

from __future__ import annotations

import re

import pytest

from api.console.pages import pages
from api.console.users import add_user, known_users, remove_user
from decisioning.errors import NextbestError
from tests.console.office import Office, token_in

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


async def test_after_five_attempts_even_the_right_password_waits():
    office = Office()
    password = await add_user(office.desk.store, "ann", "agent")
    for _ in range(5):
        await office.send("/console/sign-in", "/console/sign-in", user="ann", password="guess")

    elsewhere = office.new_browser("10.0.0.9")
    office.browser = elsewhere
    answer = await office.send("/console/sign-in", "/console/sign-in", user="ann", password=password)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"


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
            assert "script-src 'self';" in answer.headers["content-security-policy"], each.path
            assert "unsafe" not in answer.headers["content-security-policy"]
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
