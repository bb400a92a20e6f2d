"""The console in a real Chromium: keys, and parts that change without a reload; tests/story/ looks at its pages."""

from __future__ import annotations

import httpx
import pytest

from tests.api.desk import KEY
from tests.browser import axe_violations, watched
from tests.decisioning.bank import GOLD


@pytest.fixture
def customer(console_url: str, request: pytest.FixtureRequest) -> str:
    """A customer of this test alone."""
    name = f"C-{abs(hash(request.node.name)) % 100_000}"
    attributes = {"first_name": "Anna", "age": 40, "income": 3000.0, "tier": "classic", "suspicious": False}
    answer = httpx.patch(f"{console_url}/v1/customers/{name}", json={"attributes": attributes}, headers=KEY)
    assert answer.status_code == 200, answer.text
    return name


@pytest.fixture
def page(chromium, console_url: str):
    """A page of a browser where an agent is signed in; a fault in any script fails the test."""
    context = chromium.new_context(base_url=console_url)
    faults = watched(context)
    page = context.new_page()
    page.goto("/console/sign-in")
    page.get_by_role("button", name="Agent").click()
    page.wait_for_url("**/console/agent")
    yield page
    context.close()
    assert faults == []


def title(page) -> str:
    return page.locator(".lead h2").inner_text()


def test_an_agent_works_by_keys_alone(page, customer):
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(customer)
    page.keyboard.press("Enter")
    page.wait_for_selector(".lead")
    assert title(page) == "Gold"
    page.evaluate("window.stayed = true")

    page.locator("body").focus()
    page.keyboard.press("Escape")
    page.keyboard.press("a")

    page.wait_for_selector(".notice.good")
    assert title(page) == "Silver"
    assert page.evaluate("window.stayed")  # nothing was loaded anew


def test_a_no_with_its_reason_by_keys(page, customer):
    page.goto(f"/console/agent?customer={customer}")
    page.keyboard.press("r")
    page.keyboard.press("ArrowDown")

    page.keyboard.press("Enter")

    page.wait_for_selector(".notice.good")
    assert "rejected" in page.locator(".timeline").inner_text()


def test_keys_can_be_switched_off(page, customer):
    page.goto(f"/console/agent?customer={customer}")
    page.keyboard.press("?")
    page.locator("#keys-on").uncheck()
    page.reload()

    page.keyboard.press("a")

    assert title(page) == "Gold"
    assert page.locator(".notice").count() == 0


def test_an_open_screen_follows_what_happens_elsewhere(page, console_url, customer):
    page.goto(f"/console/agent?customer={customer}")
    assert title(page) == "Gold"
    asked = {"customer": {"id": customer}, "channel": "web", "placements": ["web.hero"]}
    placed = httpx.post(f"{console_url}/v1/decisions", json=asked, headers=KEY).json()["placements"][0]
    assert placed["action"] == GOLD

    httpx.post(
        f"{console_url}/v1/responses", json={"event_token": placed["event_token"], "outcome": "accepted"}, headers=KEY
    )

    page.locator(".lead h2", has_text="Silver").wait_for()


def test_why_not_is_told_in_place(page, customer):
    page.goto(f"/console/agent?customer={customer}")
    page.locator("select[name=action]").select_option("grow/cards/silver")
    page.get_by_role("button", name="Ask").click()

    page.wait_for_selector("#told .told")
    assert "No offer of 'Silver'" in page.locator("#told").inner_text()


def test_the_screen_works_without_scripts(chromium, console_url, customer):
    context = chromium.new_context(base_url=console_url, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/console/agent?customer={customer}")
    page.get_by_role("button", name="Agent").click()
    assert title(page) == "Gold"

    page.get_by_role("button", name="Send the form").click()

    assert title(page) == "Silver"
    context.close()


def test_axe_finds_nothing_on_what_the_demos_first_page_says_to_agents_about_an_unknown_customer(chromium, console_url):
    context = chromium.new_context(base_url=console_url)
    faults = watched(context, may_be_unreachable=True)  # the agent's screen of nobody is a 404
    context.add_cookies([{"name": "nextbest_customer", "value": "C-nobody", "url": console_url}])
    page = context.new_page()
    page.goto("/")
    page.get_by_text("No customer is known as C-nobody").wait_for()
    page.get_by_role("button", name="Snippets").wait_for()

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert axe_violations(page) == [], scheme
    context.close()
    assert faults == []


LINES_OF_VALUES = """(all) => all.map((each) => {
  const value = document.createRange();
  value.selectNodeContents(each.firstChild);
  return [value.toString().trim(), value.getClientRects().length];
})"""


def test_no_number_breaks_where_the_screen_is_narrow(page, console_url, customer):
    income = {"attributes": {"income": 1234567890123.25}}
    assert httpx.patch(f"{console_url}/v1/customers/{customer}", json=income, headers=KEY).status_code == 200
    page.goto(f"/console/agent?customer={customer}")

    for width in range(240, 340, 10):
        page.evaluate("(width) => { document.querySelector('.known').style.width = `${width}px`; }", width)
        values = page.locator(".facts dd").evaluate_all(LINES_OF_VALUES)
        assert ["1,234,567,890,123.25", 1] in values and {lines for _, lines in values} == {1}, width
