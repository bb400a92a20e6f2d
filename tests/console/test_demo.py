"""The demo: one customer on the bank's page, in an inbox and on the agent's screen, in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.desk import KEY
from tests.browser import serving
from tests.console.office import Office, bank_desk

ROOT = Path(__file__).parents[2]
AXE = (Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js").read_text()
SHOTS = ROOT / "build" / "screenshots"
PATIENCE_MS = 10_000
PERSON = {
    "first_name": "Alice",
    "language": "en",
    "age": 34,
    "segment": "affluent",
    "tenure_days": 1200,
    "complaints_open": 0,
    "card_tier": "classic",
    "balance_avg_3m": 6200.0,
    "income_monthly": 3100.0,
    "in_arrears": False,
    "has_credit_card": False,
    "salary_account": True,
}


@pytest.fixture(scope="module")
def demo_url() -> Iterator[str]:
    with serving(Office(demo=True, desk=bank_desk()).desk) as url:
        yield url


@pytest.fixture
def person(demo_url: str, request: pytest.FixtureRequest) -> str:
    """A customer of this test alone, who permits everything."""
    name = "D-" + re.sub(r"\W", "-", request.node.name)[:60]
    httpx.patch(f"{demo_url}/v1/customers/{name}", json={"attributes": PERSON}, headers=KEY).raise_for_status()
    consents = [{"channel": each, "purpose": "marketing", "granted": True} for each in ("web", "email", "call_center")]
    httpx.put(f"{demo_url}/v1/customers/{name}/consents", json=consents, headers=KEY).raise_for_status()
    return name


@pytest.fixture
def context(chromium, demo_url: str, person: str):
    """A browser in which the demo is seen as this customer; a fault in any script fails the test."""
    context = chromium.new_context(base_url=demo_url)
    context.set_default_timeout(PATIENCE_MS)
    context.add_cookies([{"name": "nextbest_customer", "value": person, "url": demo_url}])
    faults: list[str] = []
    context.on("weberror", lambda each: faults.append(str(each.error)))
    yield context
    context.close()
    assert faults == []


def test_what_is_accepted_on_the_web_leaves_the_screen_and_the_mail(context, person):
    agent, bank, inbox = context.new_page(), context.new_page(), context.new_page()
    agent.goto("/")
    agent.locator(".lead h2", has_text="Gold upgrade").wait_for()
    with inbox.expect_response("**/e/*.png*"):
        inbox.goto("/demo/inbox")
    inbox.wait_for_load_state("load")
    before = inbox.locator("img.fetched").screenshot()
    bank.goto("/demo/bank")
    bank.locator("[data-nextbest]", has_text="gold suits you").first.wait_for()
    shot(bank, "demo-bank")
    shot(inbox, "demo-inbox")

    bank.get_by_role("link", name="See the gold card").first.click()
    bank.get_by_role("button", name="Yes, please").click()

    bank.get_by_text("Thank you").wait_for()
    agent.bring_to_front()
    agent.locator(".lead h2", has_not_text="Gold upgrade").wait_for()
    agent.locator(".timeline", has_text="accepted").wait_for()
    shot(agent, "demo-start-afterwards")
    inbox.bring_to_front()
    with inbox.expect_response("**/e/*.png*"):
        inbox.reload()
    inbox.wait_for_load_state("load")
    assert inbox.locator("img.fetched").screenshot() != before
    bank.bring_to_front()
    with bank.expect_response("**/web/decisions"):
        bank.reload()
    bank.wait_for_timeout(300)  # until the answer is in its place
    assert bank.get_by_text("gold suits you").count() == 0


def test_what_the_agent_notes_changes_the_page_that_is_open(context, person):
    page = context.new_page()
    page.goto("/")
    page.locator("[data-nextbest]", has_text="gold suits you").first.wait_for()
    page.locator(".lead h2", has_text="Gold upgrade").wait_for()
    shot(page, "demo-start")

    page.get_by_role("button", name="Send the form").click()

    page.locator(".lead h2", has_not_text="Gold upgrade").wait_for()
    page.locator("[data-nextbest='web.home.hero'] h2", has_not_text="gold suits you").wait_for()


def test_a_click_in_the_mail_is_confirmed_by_the_page_it_leads_to(context, person, demo_url):
    page = context.new_page()
    with page.expect_response("**/e/*.png*"):
        page.goto("/demo/inbox")

    with page.expect_response("**/web/responses"):
        page.locator(".mail a").click()

    known = httpx.get(f"{demo_url}/v1/customers/{person}", headers=KEY).json()
    assert ("clicked", "email") in {(each["outcome"], each["channel"]) for each in known["interactions"]}


def test_the_switcher_shows_somebody_else(context, demo_url):
    httpx.patch(f"{demo_url}/v1/customers/D-other", json={"attributes": {**PERSON, "first_name": "Berta"}}, headers=KEY)
    page = context.new_page()
    page.goto("/demo/bank")
    page.locator("#person").fill("D-other")
    page.get_by_role("button", name="Switch").click()

    page.locator(".bank-person", has_text="Berta").wait_for()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("path", ["/", "/demo/bank", "/demo/inbox", "/demo/product?to=https://bank.example/cards/gold"])
def test_axe_finds_nothing_on_the_demos_pages(chromium, demo_url, person, path, width):
    context = chromium.new_context(
        base_url=demo_url, viewport={"width": width, "height": 800}, bypass_csp=True, reduced_motion="reduce"
    )
    context.add_cookies([{"name": "nextbest_customer", "value": person, "url": demo_url}])
    page = context.new_page()
    page.goto(path)
    page.wait_for_timeout(1500)  # until what the page fetches is there; there is no event for "all of it"

    page.evaluate(AXE)
    found = page.evaluate("axe.run().then((report) => report.violations.map((each) => [each.id, each.nodes[0].html]))")

    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def shot(page, name: str) -> None:
    """Keep what the page looks like as an artifact."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(300)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
