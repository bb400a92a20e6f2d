"""Inert: payloads of every kind, each alone, at every surface of every channel, stay words.

    python -m tests.proofs.inert [EVERY]

As what a source says of a customer, as what an author wrote, as the moment's context, and as a name in addresses,
bodies and forms; in a real Chromium on a site's page, on the demo's and the console's, and in a mail. EVERY takes one
payload of so many. The checks hold for any selection; tests/web runs them on a smaller one.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from PIL import Image

from api.console.page import Page as PageEndpoint
from api.email.pictures import Pictures
from api.throttle import Throttle
from decisioning.catalog.strategy import Strategy
from tests.api.desk import KEY
from tests.browser import launched, serving, until
from tests.console.office import Office, token_in
from tests.decisioning.bank import strategy
from tests.email.post import PERSON, Post
from tests.every_channel import NAME, SITE, every_channel
from tests.payloads import PAYLOADS, RUN, Skeleton, quoted, shown_as
from tests.web.conftest import Site
from tests.web.pages import Page, token_for

BANK = strategy(every_channel())
HARMLESS = "Ann"
SENDER = {"amp-email-sender": "bank@bank.example"}
OURS = re.compile(
    r"(/(?![/\\])|#|https://bank\.example/|http://(desk|localhost:8080)/)"
)  # where every link and picture of ours leads
NAMES = (  # an address, and the payload in each of its places
    "/e/{}.png", "/e/{}.html", "/e/{}.json", "/c/{}", "/c/x?url={}", "/c/{}?next={}", "/web/images/{}/x.png",
    "/web/images/x/{}", "/console/static/{}", "/console/static/style.css?v={}", "/demo/follow?mail={}",
    "/demo/product?to={}", "/console/sign-in?next={}", "/console/agent?customer={}", "/console/agent/pulse?customer={}",
    "/console/agent/why?customer=C-1&action={}", "/console/agent/why?customer={}&action=x", "/{}", "/v1/customers/{}",
    "/v1/decisions/{}", "/docs?{}", "/nextbest.js?{}",
)  # fmt: skip
FORMS = (
    ("/console/agent/answers", {"customer": "{}", "event_token": "{}", "outcome": "accepted"}),
    ("/console/agent/answers", {"customer": "C-1", "event_token": "{}", "outcome": "rejected", "reason": "{}"}),
    ("/demo/customer", {"customer": "{}", "back": "{}"}),
    ("/demo/customer", {"customer": "C-1", "back": "{}"}),
    ("/demo/answers", {"action": "{}", "outcome": "accepted"}),
    ("/console/sign-in", {"user": "{}", "password": "{}", "next": "{}"}),
)
CARD = (
    "<section data-nextbest=web.hero><h1 data-nextbest-field=headline></h1><div data-nextbest-field=body></div>"
    "<a data-nextbest-field=cta href=/own>Own</a></section>"
)
PAGES = ("/demo/bank", "/demo/inbox", "/demo/product?to=https://bank.example/gold", "/console/agent?customer=C-1")
MADE = "svg, iframe, object, embed, base, marquee, video, audio, template, [onerror], [onload], [srcdoc]"
DEED = "window.pwned = () => { window.hit = true; }; window.alert = window.pwned;"


class Town:
    """A mail program, a browser and an agent before the bank; one customer, with any name."""

    def __init__(self, bank: Strategy = BANK) -> None:
        self.post = Post(bank=bank)
        self.office = Office(demo=True, desk=self.post)
        refuse_nobody_for_haste(self.post)
        senders = frozenset(SENDER.values())
        self.post.service.settings = replace(self.post.service.settings, amp_senders=senders)

    async def sign_in(self) -> None:
        """As the demo's agent, who looks at C-1."""
        answer = await self.office.send("/", "/demo/customer", customer="C-1", back="/")
        assert answer.status_code == 303, answer.text

    async def know(self, name: str) -> None:
        """The customer is called so from now on."""
        await self.post.http.delete("/v1/customers/C-1")
        await self.post.know("C-1", first_name=name)

    async def pages(self) -> dict[str, httpx.Response]:
        """Every page that says the name, and the mail's fragment."""
        get = self.office.get
        return {
            "mail": await self.post.fetch(self.post.token(), form="html"),
            "agent": await get("/console/agent?customer=C-1"),
            "part": await get("/console/agent?customer=C-1", **{"hx-request": "true"}),
            "start": await get("/"),
            "bank": await get("/demo/bank"),
            "inbox": await get("/demo/inbox"),
            "product": await get("/demo/product?to=https://bank.example/gold"),
        }

    async def skeletons(self) -> dict[str, Skeleton]:
        """The pages of a customer with a harmless name."""
        await self.know(HARMLESS)
        return {where: Skeleton(page.text) for where, page in (await self.pages()).items()}


def refuse_nobody_for_haste(post: Post) -> None:
    """The console of this application counts neither visits nor failed attempts to sign in."""
    for route in post.http._transport.app.routes:  # type: ignore[attr-defined]
        if isinstance(route.endpoint, PageEndpoint):
            route.endpoint.console.visits = Throttle(per_second=1e6, burst=1e6)
            route.endpoint.console.attempts.allows = lambda *_: True


async def opened(bank: Strategy = BANK) -> Town:
    """A town whose agent is there."""
    made = Town(bank)
    await made.sign_in()
    return made


async def check_names_on_pages(payloads: Sequence[str]) -> None:
    """A name makes no element, no attribute and no address of its own in any page or mail."""
    town = await opened()
    plain = await town.skeletons()
    assert all(HARMLESS in page.text for page in plain.values())
    for payload in payloads:
        await town.know(payload)
        _check_pages(await town.pages(), plain, payload)


def _check_pages(pages: dict[str, httpx.Response], plain: dict[str, Skeleton], payload: str) -> None:
    """Those of which there is a plain one say the payload, and are what they were without it."""
    for where in plain:
        page = pages[where]
        found = Skeleton(page.text)
        assert page.status_code == 200, (where, payload)
        assert found.elements == plain[where].elements, (where, payload)
        assert all(OURS.match(each) for each in found.addresses), (where, payload)
        assert shown_as(payload).strip() in shown_as(found.text), (where, payload)
        assert "script-src 'self'" in page.headers["content-security-policy"] or where == "mail", where


async def check_authors_texts(payloads: Sequence[str]) -> None:
    """What an author wrote is as inert as what a source says, on pages, in mails, pictures and JSON.

    In fields of type text and in labels: markup and addresses that hold a payload are mostly not published at all.
    """
    harmless = await (await opened(written_by_an_author("Zoe"))).skeletons()
    plain = {where: page for where, page in harmless.items() if "Zoe" in page.text}
    assert plain.keys() == {"mail", "agent", "part"}  # other pages fetch content by picture and by the snippet
    for payload in payloads:
        town = await opened(written_by_an_author(payload))
        await town.know(HARMLESS)
        _check_pages(await town.pages(), plain, payload)
        await _check_json(town, payload)
        await _check_picture(town, payload)


def written_by_an_author(payload: str) -> Strategy:
    """The bank whose contents have the payload where they had the customer's name, but for markup and addresses."""
    files, said = every_channel(), quoted(payload)[1:-1]
    name = re.compile(rf"(?<!for=)(?<!<b>){re.escape(NAME)}")
    files["actions/cards.yaml"] = name.sub(lambda _: said, files["actions/cards.yaml"])
    return strategy(files)


async def check_names_in_json(payloads: Sequence[str]) -> None:
    """JSON and AMP say the name as it is, and the links in them stay ours."""
    town = await opened()
    for payload in payloads:
        await town.know(payload)
        await _check_json(town, payload)


async def _check_json(town: Town, payload: str) -> None:
    token = town.post.token()
    told = await town.post.fetch(token, form="json")
    amp = await town.post.fetch(token, form="amp", by={**PERSON, **SENDER})
    page = await Page(town.post).decide(await token_for(town.post), "web.hero")
    api = await town.post.ask("call.next")
    for answer in (told, amp, page):
        assert answer.headers["content-type"].startswith("application/json"), payload
        assert answer.headers.get("x-content-type-options") == "nosniff" or answer is page
    assert told.json()["content"]["headline"] == f"Gold, {payload}"
    assert amp.json()["items"][0]["headline"] == f"Gold, {payload}"
    (shown,) = page.json()["placements"]
    assert shown["content"]["headline"] == f"Gold, {payload}"
    assert api["placements"][0]["content"]["points"][0] == f"Gold for {payload}"
    for link in (told.json()["content"]["cta"]["url"], shown["content"]["cta"]["url"]):
        assert urlsplit(link).scheme == "https" and urlsplit(link).netloc == "bank.example", payload


async def check_names_in_mails(payloads: Sequence[str]) -> None:
    """A mail's picture draws the name as letters, and its link carries it to our address alone."""
    town = await opened()
    for payload in payloads:
        await town.know(payload)
        token = await _check_picture(town, payload)
        link = await town.post.follow(token)
        assert link.status_code == 302 and link.headers["location"].startswith(f"{SITE}/gold?from=mail&for="), payload
        assert all(b"\r" not in each and b"\n" not in each for pair in link.headers.raw for each in pair), payload


async def _check_picture(town: Town, payload: str) -> str:
    """Gives the token of the mail it was in."""
    picture = BANK.placements["email.hero"].picture
    assert picture is not None
    token = town.post.token()
    answer = await town.post.fetch(token)
    drawn = Image.open(io.BytesIO(answer.content))
    drawn.load()
    assert (answer.status_code, drawn.size) == (200, (600, 200)), payload
    without = Pictures().draw(picture, {"headline": "Gold, "}, scale=1).content
    assert len(answer.content) < 60_000 and answer.content != without, payload
    return token


async def check_context(payloads: Sequence[str]) -> None:
    """What a page or a screen says of the moment is words, or refused."""
    town = await opened()
    await town.know(HARMLESS)
    plain: dict[int, Any] = {}
    for payload in (HARMLESS, *payloads):
        token = await token_for(town.post)  # each has a pace of its own
        answer = await Page(town.post).decide(token, "web.hero", context={"page": payload})
        assert answer.status_code in (200, 422), (answer.status_code, payload)
        answer = await town.office.get(f"/console/agent?customer=C-1&context.page={quote(payload, safe='')}")
        assert answer.status_code == 200 and RUN not in "".join(Skeleton(answer.text).addresses), payload
        _check_answer(answer, "context", payload, plain)


async def check_names_in_addresses(payloads: Sequence[str]) -> None:
    """A payload as a name in an address is words, or refused, and adds no header."""
    town = await opened()
    for path in NAMES:
        plain: dict[int, Any] = {}
        for payload in payloads:
            answer = await asked(town, path, payload)
            assert answer.status_code < 500, (path, payload)
            assert all(b"\r" not in each and b"\n" not in each for pair in answer.headers.raw for each in pair)
            assert "hit" not in answer.cookies
            _check_answer(answer, path, payload, plain)


async def asked(town: Town, path: str, payload: str) -> httpx.Response:
    """What the address says with the payload in its places."""
    url = httpx.URL(f"http://localhost:8080{path.format(*[quote(payload, safe='')] * 2)}")
    return await town.office.browser.get(url, headers=KEY, follow_redirects=False)


def _check_answer(answer: httpx.Response, path: str, payload: str, plain: dict[int, Any]) -> None:
    """It leads to us, and pages of one status have the same elements, whatever the name."""
    assert OURS.match(answer.headers.get("location", "/")), (path, payload, answer.headers)
    if answer.headers.get("content-type", "").startswith("text/html"):
        found = Skeleton(answer.text)
        assert all(OURS.match(each) for each in found.addresses), (path, payload, found.addresses)
        assert found.elements == plain.setdefault(answer.status_code, found.elements), (path, payload)


async def check_names_in_bodies(payloads: Sequence[str]) -> None:
    """A payload as a name in a body of JSON is words, or refused."""
    town = await opened()
    await town.know(HARMLESS)
    shown = (await town.post.ask())["placements"][0]["event_token"]
    for payload in payloads:
        for number, answer in enumerate(await _told(town, shown, payload)):
            assert answer.status_code < 500, (number, payload, answer.text)
            assert answer.headers["content-type"] == "application/json", (number, payload)


async def _told(town: Town, shown: str, payload: str) -> list[httpx.Response]:
    http, named, known = town.post.http, {"customer": {"id": payload}}, {"customer": {"id": "C-1"}}
    asked = {"channel": "web", "placements": ["web.hero"]}
    sent = {"placement": "email.hero", "message": payload, "recipients": [payload]}
    return [
        await http.post("/v1/decisions", json={**named, **asked}),
        await http.post("/v1/decisions", json={**known, "channel": payload, "placements": [payload]}),
        await http.post("/v1/decisions", json={**known, **asked, "idempotency_key": payload}),
        await http.post("/v1/tokens", json=sent),
        await town.post.tell(event_token=shown, outcome="rejected", reason=payload, idempotency_key=payload),
        await town.post.tell(event_token=payload, outcome=payload),
        await http.patch("/v1/customers/C-1", json={"attributes": {payload: payload}}),
        await http.post("/v1/visitor-tokens", json={**named, "origin": payload}),
        await Page(town.post, origin=None).decide(payload, payload),
    ]


async def check_names_in_forms(payloads: Sequence[str]) -> None:
    """A payload in any field of the console's and the demo's forms is words, or refused."""
    town = await opened()
    await town.know(HARMLESS)
    csrf = token_in((await town.office.get("/console/agent?customer=C-1")).text)
    for path, fields in FORMS:
        plain: dict[int, Any] = {}
        for payload in payloads:
            body = {"csrf": csrf, **{name: value.replace("{}", payload) for name, value in fields.items()}}
            answer = await town.office.browser.post(path, data=body)
            assert answer.status_code < 500, (path, payload)
            _check_answer(answer, path, payload, plain)


CHECKS: tuple[Callable[[Sequence[str]], Awaitable[None]], ...] = (
    check_names_on_pages,
    check_authors_texts,
    check_names_in_json,
    check_names_in_mails,
    check_context,
    check_names_in_addresses,
    check_names_in_bodies,
    check_names_in_forms,
)


class Watched:
    """A tab that notes what no name may bring about: dialogs, errors of scripts, and requests to other hosts."""

    def __init__(self, chromium: Any, site: Site, post: Post) -> None:
        self.site, self.post, self.base = site, post, site.service
        self.context = chromium.new_context()
        self.tab = self.context.new_page()
        self.tab.add_init_script(DEED)
        self.deeds: list[str] = []
        self.tab.on("dialog", lambda dialog: self.deeds.append(dialog.message))
        self.context.on("weberror", lambda error: self.deeds.append(str(error.error)))
        self.context.route("**/*", self._route)

    def _route(self, route: Any) -> None:
        if route.request.url.startswith((self.base, self.site.origin)):
            route.continue_()
            return
        if not route.request.url.startswith("https://bank.example/"):
            self.deeds.append(route.request.url)
        route.abort()

    def check(self, name: str) -> None:
        """The card on a site's page, every page of ours, and a mail say the name, and do nothing else."""
        with httpx.Client(base_url=self.base, headers=KEY) as http:
            http.delete("/v1/customers/C-1")
            known = {"age": 40, "income": 3000.0, "tier": "classic", "suspicious": False, "first_name": name}
            assert http.patch("/v1/customers/C-1", json={"attributes": known}).status_code == 200
            body = {"customer": {"id": "C-1"}, "origin": self.site.origin}
            token = http.post("/v1/visitor-tokens", json=body).json()["visitor_token"]
        self._check_card(name, token)
        self._look_at("C-1")
        for path in (*PAGES, f"/e/{self.post.token()}.html"):
            self.tab.goto(f"{self.base}{path}", wait_until="load")
            said = str(self.tab.evaluate("document.documentElement.textContent"))
            assert shown_as(name).strip() in shown_as(said), (path, name, said)
            made = self.tab.evaluate(f"[window.hit, document.querySelectorAll('{MADE}').length]")
            assert made == [None, 0], (path, name, made)
        assert self.deeds == [], name

    def _check_card(self, name: str, token: str) -> None:
        """What the snippet makes of the name in a text, in markup, in a label and in an address."""
        self.tab.goto(self.site.put("/", CARD, script=f'data-deadline=20000 data-token="{token}"'))
        until(self.tab, "document.querySelector('h1').textContent")
        headline, bold, inside, link, hit = self.tab.evaluate(
            "() => { const card = document.querySelector('section');"
            " const link = card.querySelector('[data-nextbest-field=cta]');"
            " return [card.querySelector('h1').textContent, card.querySelector('b').textContent,"
            " [...card.querySelectorAll('*')].map((node) => node.tagName).join(' '), link.href, window.hit]; }"
        )
        assert (headline, bold) == (f"Gold, {name}", shown_as(name))
        assert (inside, hit) == ("H1 DIV P B A A", None), name
        assert link.startswith("https://bank.example/cards?for="), name

    def _look_at(self, customer: str) -> None:
        """The demo's switcher, in a fresh session."""
        self.context.clear_cookies()
        self.tab.goto(f"{self.base}/")
        self.tab.fill("#person", customer)
        self.tab.click(".demo-bar button")


@contextmanager
def watching(chromium: Any) -> Iterator[Watched]:
    """A site's page and the bank in every channel, both served, and a tab before them."""
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    post = Post(bank=strategy(every_channel(site.origin)))
    Office(demo=True, desk=post)
    refuse_nobody_for_haste(post)
    with serving(post) as site.service:
        watched = Watched(chromium, site, post)
        yield watched
        watched.context.close()
    site.server.shutdown()
    site.server.server_close()


def in_a_browser(payloads: Sequence[str]) -> None:
    """Each as a name, before a real Chromium."""
    with launched() as chromium, watching(chromium) as watched:
        for payload in payloads:
            watched.check(payload)


def main(every: int = 1) -> None:
    """Fails for a payload that became more than words; a check ends with its first."""
    logging.getLogger("nextbest").setLevel(logging.CRITICAL)  # each sign-in that fails is a warning
    payloads, faults = PAYLOADS[::every], 0
    writable = [each for each in payloads if "{{" not in each]  # braces are an author's own means
    checks = [(check, writable if check is check_authors_texts else payloads) for check in CHECKS]
    runs = [(check.__name__, lambda check=check, each=each: asyncio.run(check(each)), each) for check, each in checks]
    for name, run, given in [*runs, ("in_a_browser", lambda: in_a_browser(payloads), payloads)]:
        try:
            run()
        except AssertionError as error:
            faults += 1
            print(f"{name}: {error}", flush=True)
        else:
            print(f"{name}: {len(given)} payloads, words all of them", flush=True)
    sys.exit("FAILED" if faults else None)


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
