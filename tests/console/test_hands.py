"""The agent's screen under an agent's hands, in a real Chromium: held keys, changes elsewhere, the focus, and Back."""

from __future__ import annotations

import httpx
import pytest

from tests.api.desk import KEY
from tests.browser import eventually, watched
from tests.decisioning.bank import GOLD

KNOWN = {"first_name": "Anna", "age": 40, "income": 3000.0, "tier": "classic", "suspicious": False}


@pytest.fixture
def customer(console_url: str, request: pytest.FixtureRequest) -> str:
    """A customer of this test alone."""
    return known(console_url, request.node.name[:60].replace("[", "-").replace("]", ""))


@pytest.fixture
def page(chromium, console_url: str):
    """A page of a browser where an agent is signed in."""
    context = chromium.new_context(base_url=console_url)
    faults = watched(context)
    page = context.new_page()
    page.goto("/console/sign-in")
    page.get_by_role("button", name="Agent").click()
    page.wait_for_url("**/console/agent")
    yield page
    context.close()
    assert [each for each in faults if "409" not in each] == []


def known(url: str, name: str) -> str:
    httpx.patch(f"{url}/v1/customers/{name}", json={"attributes": KNOWN}, headers=KEY).raise_for_status()
    return name


def answers(url: str, customer: str) -> list[str]:
    told = httpx.get(f"{url}/v1/customers/{customer}", headers=KEY).json()["interactions"]
    return [each["outcome"] for each in told if each["outcome"] in ("accepted", "rejected", "dismissed")]


def accept_on_the_web(url: str, customer: str) -> None:
    asked = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"]}
    placed = httpx.post(f"{url}/v1/decisions", json=asked, headers=KEY).json()["placements"][0]
    assert placed["action"] == GOLD
    said = {"event_token": placed["event_token"], "outcome": "accepted"}
    httpx.post(f"{url}/v1/responses", json=said, headers=KEY).raise_for_status()


def find(page, customer: str) -> None:
    """Search as an agent does."""
    page.locator("#customer").fill(customer)
    page.keyboard.press("Enter")
    page.locator("#who", has_text=customer).wait_for()


def test_a_key_that_is_held_answers_nothing(page, customer):
    find(page, customer)
    page.locator(".lead h2:focus").wait_for()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("document.addEventListener('keydown', (event) => { window.repeated = event.repeat; })")
    page.evaluate("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', repeat: true, bubbles: true}))")

    assert page.evaluate("window.repeated")
    assert not any(url.endswith("/console/agent/answers") for url in asked)


def test_a_key_pressed_again_as_the_answer_comes_answers_nothing(page, console_url, customer):
    find(page, customer)
    press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', bubbles: true}))"
    page.evaluate(
        "document.addEventListener('htmx:afterSettle', (event) => { if (event.detail.target.id === 'screen')"
        f" setTimeout(() => {{ {press}; window.pressed = true; }}); }})"
    )

    page.evaluate(press)

    eventually(lambda: page.evaluate("window.pressed"))
    assert page.locator(".answers button:disabled").count() == 0  # none is under way
    assert answers(console_url, customer) == ["accepted"]


def test_a_change_elsewhere_waits_while_somebody_answers(page, console_url, customer):
    find(page, customer)
    page.locator("select[name=reason]").select_option("too_expensive")

    accept_on_the_web(console_url, customer)

    page.locator("#changed", has_text="changed elsewhere").wait_for()
    assert page.locator(".lead h2").inner_text() == "Gold"
    page.get_by_role("button", name="Show it").click()
    page.locator(".lead h2", has_text="Silver").wait_for()
    page.locator("#said", has_text="Silver").wait_for()


def test_a_change_elsewhere_takes_away_neither_the_note_nor_the_focus(page, console_url, customer):
    find(page, customer)
    page.get_by_role("button", name="Later").click()
    page.locator(".notice.good", has_text="Noted: Later").wait_for()
    page.locator(".lead h2:focus").wait_for()

    httpx.patch(
        f"{console_url}/v1/customers/{customer}", json={"attributes": {"tier": "gold"}}, headers=KEY
    ).raise_for_status()

    page.locator("dd", has_text="gold").wait_for()
    page.locator(".lead h2:focus").wait_for()
    assert page.locator(".notice.good").inner_text() == "Noted: Later."
    page.locator("#customer").fill(known(console_url, f"{customer}-b"))
    page.keyboard.press("Enter")
    page.locator("#who", has_text=f"{customer}-b").wait_for()
    assert page.locator(".notice.good").count() == 0


def test_the_key_that_finds_is_no_letter_of_the_id(page, customer):
    find(page, customer)
    page.locator("#customer").focus()

    page.keyboard.type("/" + customer)

    assert page.locator("#customer").input_value() == customer


def test_a_second_answer_of_another_kind_is_told_and_not_noted(page, console_url, customer):
    find(page, customer)
    page.locator("select[name=reason]").select_option("no_trust")
    accept_on_the_web(console_url, customer)

    page.get_by_role("button", name="Says no").click()

    page.locator(".notice", has_text="Answered meanwhile: accepted").wait_for()
    page.locator(".lead h2", has_text="Silver").wait_for()
    assert answers(console_url, customer) == ["accepted"]


def test_the_focus_goes_from_search_to_result_and_from_answer_to_answer(page, customer, console_url):
    other = known(console_url, f"{customer}-b")
    find(page, customer)
    page.locator(".lead h2:focus", has_text="Gold").wait_for()
    assert page.title() == f"{customer} · Nextbest"
    page.keyboard.press("l")
    page.locator("[tabindex='-1']:focus").wait_for()
    page.locator(".notice.good").wait_for()

    page.keyboard.press("/")
    page.keyboard.type(other)
    page.keyboard.press("Enter")

    page.locator("#who", has_text=other).wait_for()


def test_back_shows_the_customer_before_on_a_whole_page(page, customer, console_url):
    find(page, customer)
    find(page, known(console_url, f"{customer}-b"))

    page.go_back()

    page.locator("#who").and_(page.get_by_text(customer, exact=True)).wait_for()
    assert page.locator("header.bar").count() == 1 and page.locator("form.find").count() == 1


def test_while_an_answer_is_under_way_no_other_can_be_pressed(page, customer):
    find(page, customer)
    held = []
    page.route("**/console/agent/answers", lambda route: held.append(route))

    page.get_by_role("button", name="Later").click()

    eventually(lambda: page.locator(".answers button:disabled").count() == 3 and held)
    held[0].continue_()
    page.locator(".notice.good").wait_for()


def test_single_keys_do_nothing_where_they_cannot_be_switched_off(page, customer, console_url):
    page.context.add_cookies([{"name": "nextbest_customer", "value": customer, "url": console_url}])
    page.goto("/")
    page.locator(".lead h2").wait_for()

    page.keyboard.press("a")
    page.keyboard.press("w")

    assert page.locator("select[name=action]:focus").count() == 0
    assert answers(console_url, customer) == []
