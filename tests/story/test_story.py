"""The whole story in a real Chromium: web, mail and agent show one customer one card, until somebody answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from api.email.pictures import Pictures
from decisioning.catalog.load import load_bundle
from tests.browser import eventually, moved, settled, shot, watched
from tests.console.office import bank_files
from tests.story.conftest import USER_AGENT
from tests.story.house import House

ON_THE_WEB = "Alice, gold suits you"
TO_SAY = [
    "Ask about the next trip: gold includes travel cover for the whole family.",
    "No fee in the first year, and the card number stays the same.",
]
IN_THE_MAIL = {
    "headline": "Your classic card can do more",
    "body": "Alice, swap it for gold: travel cover, lounge access, the same card number and no fee in the first year.",
    "cta": {"label": "Swap my card"},
}


def drawn() -> bytes:
    """The gold card's picture for Alice, drawn here and now."""
    picture = load_bundle(bank_files()).placements["email.hero"].picture
    assert picture is not None
    return Pictures().draw(picture, IN_THE_MAIL, scale=1).content


def hero(bank: Any) -> Any:
    return bank.locator("[data-nextbest='web.home.hero'] h2")


def customer_accepts(bank: Any, agent: Any) -> tuple[str, str]:
    """On the page behind the card's link."""
    bank.get_by_role("button", name="Yes, please").click()
    bank.get_by_text("Thank you").wait_for()
    return "web", "accepted"


def agent_accepts(bank: Any, agent: Any) -> tuple[str, str]:
    """During a call, with the customer on the bank's home page."""
    bank.goto("/demo/bank")
    agent.bring_to_front()
    agent.get_by_role("button", name="Send the form").click()
    return "call_center", "accepted"


@pytest.mark.parametrize("somebody_accepts", [customer_accepts, agent_accepts])
def test_one_customer_has_one_card_in_every_channel_until_it_is_answered(
    house: House, profile, person, somebody_accepts
):
    mail, bank, agent = profile.new_page(), profile.new_page(), profile.new_page()
    name = somebody_accepts.__name__.replace("_", "-")

    bank.goto("/demo/bank")
    hero(bank).get_by_text(ON_THE_WEB).wait_for()
    settled(bank)
    shot(bank, f"story-{name}-1-web")
    eventually(lambda: ("web", "impression") in house.interactions(person))

    with mail.expect_response("**/e/*.png*") as fetched:
        mail.goto("/demo/inbox")
    assert fetched.value.body() == drawn()
    settled(mail)
    shot(mail, f"story-{name}-2-mail")
    assert ("email", "impression") in house.interactions(person)

    agent.goto("/")
    agent.goto(f"/console/agent?customer={person}")
    assert agent.locator(".lead h2").inner_text() == "Gold upgrade"
    assert agent.locator(".lead .points li").all_inner_texts() == TO_SAY
    shot(agent, f"story-{name}-3-agent")

    bank.bring_to_front()
    bank.get_by_role("link", name="See the gold card").click()
    bank.get_by_role("heading", name="Gold upgrade").wait_for()
    eventually(lambda: ("web", "clicked") in house.interactions(person))
    settled(bank)
    shot(bank, f"story-{name}-4-product")

    with mail.expect_response("**/e/*.png*") as fetched_again:
        answer = somebody_accepts(bank, agent)
    eventually(lambda: answer in house.interactions(person) or ("web", "converted") in house.interactions(person))

    hero(bank).filter(has_not_text=ON_THE_WEB).wait_for()
    agent.locator(".lead h2").filter(has_not_text="Gold upgrade").wait_for()
    agent.locator(".timeline").get_by_text("accepted").wait_for()
    assert fetched_again.value.body() != drawn()
    for page, channel in ((bank, "web"), (mail, "mail"), (agent, "agent")):
        page.bring_to_front()
        settled(page)
        shot(page, f"story-{name}-5-{channel}-afterwards")
    assert house.interactions(person).count(("web", "clicked")) == 1


def test_a_page_that_stays_open_is_seen_once(house: House, profile, person):
    bank = profile.new_page()
    bank.clock.install()
    bank.goto("/demo/bank")
    settled(bank)
    moved(bank)  # two frames later it is known what is in sight
    bank.clock.run_for(2_000)
    eventually(lambda: ("web", "impression") in house.interactions(person))

    for _ in range(5):
        with bank.expect_response("**/demo/pulse"):
            bank.clock.run_for(2_000)
        moved(bank)
    bank.clock.run_for(5_000)

    assert house.interactions(person).count(("web", "impression")) == 1


def test_the_mails_link_leads_to_its_destination_whose_page_confirms_the_click(house: House, chromium, person, site):
    asked = {"placement": "email.hero", "recipients": [{"id": person}]}
    (mail,) = house.http.post("/v1/tokens", json=asked).raise_for_status().json()["tokens"]
    site.service = house.url
    landing = site.put("/landing", "<h1>The gold card</h1>")
    context = chromium.new_context(user_agent=USER_AGENT)
    faults = watched(context, may_be_unreachable=True)
    letter, page = context.new_page(), context.new_page()
    letter.set_content(
        f"<a href='{house.url}{mail['link']}'><img src='{house.url}{mail['image']}' alt='Our letter'></a>"
    )
    settled(letter)

    with letter.expect_response("**/c/*") as followed:
        letter.locator("a").click()
    destination = urlsplit(followed.value.headers["location"])
    page.goto(f"{landing}?{destination.query}")  # the bank of the example has no server of its own
    page.wait_for_url(landing)  # the event token is out of the address again
    page.mouse.move(5, 5)  # somebody is there

    assert destination.netloc + destination.path == "bank.example/cards/gold"
    assert page.get_by_role("heading").inner_text() == "The gold card"
    eventually(lambda: ("email", "clicked") in house.interactions(person))
    context.close()
    assert faults == []


def test_the_switcher_shows_somebody_else(house: House, profile):
    house.welcome("S-other", first_name="Berta")
    page = profile.new_page()
    page.goto("/demo/bank")
    page.locator("#person").fill("S-other")
    page.get_by_role("button", name="Switch").click()

    page.locator(".bank-person", has_text="Berta").wait_for()
