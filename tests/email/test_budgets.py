"""Small budgets and mails: what a machine sees and what a claim takes do not depend on where the units lie."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from decisioning.restocking import Upkeep
from decisioning.store.protocol import Change, Movement
from tests.email.post import APPLE, Post, mail_bank

STOCK = 100  # fewer than partitions, so that most have none at hand


async def test_a_machine_is_shown_what_a_person_would_be() -> None:
    post = Post(bank=mail_bank(stock=STOCK))
    await Upkeep(post.store).run(post.service.deployed().strategy)
    shown = set()
    for number in range(20):
        customer = f"C-{number}"
        await post.know(customer)
        await post.fetch(post.token(customer), by=APPLE)
        shown |= {each.action for each in (await post.state(customer)).renders}

    (counter,) = await post.store.counters(["stock"])

    assert shown == {"grow/cards/gold"} and counter.outstanding <= STOCK
    assert not any([(await post.state(f"C-{number}")).lease for number in range(20)])


async def test_a_claim_fetches_the_units_that_went_meanwhile() -> None:
    post = Post(bank=mail_bank(stock=STOCK))
    await post.know("C-1")
    token = post.token("C-1")
    await post.fetch(token, by=APPLE)
    followed = (await post.follow(token)).headers["location"]
    (snapshot,) = await post.store.read(["C-1"], quotas=True)
    taken = [Movement("spend", "stock", units)] if (units := snapshot.quotas.get("stock", 0)) else []
    await post.store.commit([Change("C-1", snapshot.state_version, snapshot.state, movements=taken)])

    await post.tell(event_token=parse_qs(urlsplit(followed).query)["nextbest"][0], outcome="clicked")

    assert [each["claim"] for each in await post.records() if "claim" in each] == ["leased"]
    assert [each.action for each in (await post.state("C-1")).lease] == ["grow/cards/gold"]


async def test_a_claim_of_what_is_sold_out_is_late() -> None:
    bank = mail_bank(stock=1)
    post = Post(bank=bank)
    for customer in ("C-1", "C-2"):
        await post.know(customer)
    token = post.token("C-1")
    await post.fetch(token, by=APPLE)
    assert (await post.ask("web.hero", customer="C-2"))["placements"][0]["action"] == "grow/cards/gold"
    followed = (await post.follow(token)).headers["location"]

    await post.tell(event_token=parse_qs(urlsplit(followed).query)["nextbest"][0], outcome="clicked")

    assert [each["claim"] for each in await post.records() if "claim" in each] == ["late_claim"]
    assert (await post.state("C-1")).lease == []
