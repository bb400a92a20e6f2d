"""Payloads of every kind, as names of customers, in a real Chromium: on every page, and in a mail, they are words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from tests.api.desk import KEY
from tests.browser import serving
from tests.console.office import Office
from tests.decisioning.bank import strategy
from tests.email.post import Post
from tests.every_channel import every_channel
from tests.payloads import PAYLOADS, shown_as
from tests.web.conftest import Site
from tests.web.test_browser import SETTLED, know, until, visit

FIELDS = "<h1 data-nextbest-field=headline></h1><div data-nextbest-field=body></div>"
PAGES = ("/demo/bank", "/demo/inbox", "/demo/product?to=https://bank.example/gold", "/console/agent?customer=C-1")
MADE = "svg, iframe, object, embed, base, marquee, video, audio, template, [onerror], [onload], [srcdoc]"
CARD = f"<section data-nextbest=web.hero>{FIELDS}<a data-nextbest-field=cta href=/own>Own</a></section>"


@pytest.mark.parametrize("part", range(4))
def test_a_payload_in_a_profile_reaches_the_page_as_words(tab, site: Site, desk, part):
    tab.add_init_script("window.pwned = () => { window.hit = true; };")
    for at, payload in enumerate(PAYLOADS[part::4]):
        token = know(site, f"C-{part}-{at}", first_name=payload)
        visit(tab, site, body=CARD, script=f'data-token="{token}"')
        until(tab, SETTLED)

        shown = tab.evaluate(
            "() => { const card = document.querySelector('section');"
            " const inside = [...card.querySelectorAll('*')].map((node) => node.tagName).join(' ');"
            " return [card.querySelector('h1').textContent, card.querySelector('b').textContent, inside,"
            " card.querySelector('a[data-nextbest-field]').href, window.hit]; }"
        )
        assert tab.evaluate("window.told") == [["shown", "web.hero"]], payload
        assert shown[0] == f"Gold, {payload}"
        assert shown[1] == shown_as(payload)
        assert shown[2] == "H1 DIV P B A A"
        assert shown[3].startswith("https://bank.example/cards?for=")
        assert shown[4] is None


BUNCH = 35  # payloads in one name: each breaks out of the others' places as well
DEED = "window.pwned = () => { window.hit = true; }; window.alert = window.pwned;"


class Watched:
    """A tab that notes what no name may bring about: dialogs, scripts of others, and requests to other hosts."""

    def __init__(self, chromium: Any, base: str) -> None:
        self.base = base
        self.context = chromium.new_context()
        self.tab = self.context.new_page()
        self.tab.add_init_script(DEED)
        self.deeds: list[str] = []
        self.tab.on("dialog", lambda dialog: self.deeds.append(dialog.message))
        self.context.on("weberror", lambda error: self.deeds.append(str(error.error)))
        self.context.route("**/*", self._route)

    def _route(self, route: Any) -> None:
        if route.request.url.startswith(self.base):
            route.continue_()
            return
        if not route.request.url.startswith("https://bank.example/"):
            self.deeds.append(route.request.url)
        route.abort()

    def said(self) -> str:
        """The page's words, with what stands in its fields."""
        return str(self.tab.evaluate("document.documentElement.textContent"))


@pytest.fixture(scope="module")
def town(chromium: Any) -> Iterator[tuple[Post, Watched]]:
    """The bank in every channel as a served demo, and a tab before it."""
    post = Post(bank=strategy(every_channel()))
    Office(demo=True, desk=post)
    with serving(post) as base:
        watched = Watched(chromium, base)
        yield post, watched
        watched.context.close()


def bunches(payloads: Sequence[str]) -> list[str]:
    """All of them, some in each name."""
    return [" ".join(payloads[at : at + BUNCH]) for at in range(0, len(payloads), BUNCH)]


@pytest.mark.parametrize("name", bunches(PAYLOADS), ids=range(len(bunches(PAYLOADS))))
def test_a_name_full_of_payloads_is_words_on_every_page_of_ours_and_in_a_mail(town, name):
    post, watched = town
    tab, base = watched.tab, watched.base
    with httpx.Client(base_url=base, headers=KEY) as http:
        http.delete("/v1/customers/C-1")
        known = {"age": 40, "income": 3000.0, "tier": "classic", "suspicious": False, "first_name": name}
        assert http.patch("/v1/customers/C-1", json={"attributes": known}).status_code == 200
    watched.context.clear_cookies()
    tab.goto(f"{base}/")
    tab.fill("#person", "C-1")
    tab.click(".demo-bar button")

    for path in (*PAGES, f"/e/{post.token()}.html"):
        tab.goto(f"{base}{path}", wait_until="load")
        assert shown_as(name).strip() in shown_as(watched.said()), path
        assert tab.evaluate(f"[window.hit, document.querySelectorAll('{MADE}').length]") == [None, 0], path

    assert watched.deeds == []
