"""Payloads of every kind, as values and as names, at every surface but the drawn page: they stay words."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from PIL import Image

from api.console.page import Page as PageEndpoint
from api.console.users import add_user
from api.email.pictures import Pictures
from api.logs import FORMAT, Lines
from api.throttle import Throttle
from decisioning.catalog.load import load_bundle
from decisioning.errors import NextbestError, StrategyFaulty
from decisioning.store.memory import MemoryStore
from tests.api.desk import KEY
from tests.console.office import Office, token_in
from tests.decisioning.bank import strategy
from tests.email.post import PERSON, Post
from tests.every_channel import SITE, every_channel
from tests.payloads import PAYLOADS, ROWS, RUN, Skeleton, shown_as
from tests.web.pages import Page, token_for

pytestmark = pytest.mark.anyio
FILES = every_channel()
BANK = strategy(FILES)
HARMLESS = "Ann"
SENDER = {"amp-email-sender": "bank@bank.example"}
OURS = re.compile(
    r"(/(?![/\\])|#|https://bank\.example/|http://(desk|localhost:8080)/)"
)  # where every link and picture of ours leads


class Town:
    """A mail program, a browser and an agent before the bank; a name for each customer."""

    def __init__(self) -> None:
        self.post = Post(bank=BANK)
        self.office = Office(demo=True, desk=self.post)
        for route in self.post.http._transport.app.routes:  # type: ignore[attr-defined]
            if isinstance(route.endpoint, PageEndpoint):
                console = route.endpoint.console
                console.visits = console.by_name = console.by_address = Throttle(per_second=1e6, burst=1e6)
        self.post.service.settings = self.post.service.settings.__class__.from_environment(
            {"NEXTBEST_AMP_SENDERS": SENDER["amp-email-sender"], "NEXTBEST_DEMO": "1", "NEXTBEST_DEADLINE_MS": "5000"}
        )

    async def sign_in(self) -> None:
        """As the demo's agent, who looks at C-1."""
        answer = await self.office.send("/", "/demo/customer", customer="C-1", back="/")
        assert answer.status_code == 303, answer.text

    async def know(self, name: str) -> None:
        """The one customer of the town is called so from now on."""
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


@pytest.fixture
async def town() -> Town:
    made = Town()
    await made.sign_in()
    return made


def test_the_payloads_are_as_many_as_promised_and_of_every_kind():
    kinds = {row["kind"] for row in ROWS}

    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 60
    assert kinds >= {
        "html",
        "js",
        "svg",
        "url",
        "template",
        "css",
        "unicode",
        "control",
        "header",
        "json",
        "mustache",
        "log",
    }


@pytest.mark.parametrize("part", range(3))
async def test_a_name_makes_no_element_in_any_page_or_mail(town: Town, part: int) -> None:
    await town.know(HARMLESS)
    plain = {where: Skeleton(page.text) for where, page in (await town.pages()).items()}
    assert {where for where, page in plain.items() if HARMLESS in page.text} == plain.keys()
    for payload in PAYLOADS[part::3]:
        await town.know(payload)
        for where, page in (await town.pages()).items():
            found = Skeleton(page.text)
            assert page.status_code == 200, (where, payload)
            assert found.elements == plain[where].elements, (where, payload)
            assert all(OURS.match(each) for each in found.addresses), (where, payload)
            assert shown_as(payload).strip() in shown_as(found.text), (where, payload)
            assert "script-src 'self'" in page.headers["content-security-policy"] or where == "mail"


async def test_json_and_amp_say_the_name_and_their_links_stay_ours(town: Town) -> None:
    for payload in PAYLOADS:
        await town.know(payload)
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


async def test_a_mails_link_carries_the_name_to_our_address_alone(town: Town) -> None:
    for payload in PAYLOADS:
        await town.know(payload)
        token = town.post.token()
        await town.post.fetch(token)
        link = await town.post.follow(token)
        assert link.status_code == 302 and link.headers["location"].startswith(f"{SITE}/gold?from=mail&for="), payload
        assert all(b"\r" not in each and b"\n" not in each for pair in link.headers.raw for each in pair), payload


async def test_a_name_is_drawn_as_letters(town: Town) -> None:
    picture = BANK.placements["email.hero"].picture
    assert picture is not None
    pictures = Pictures()
    plain = pictures.draw(picture, {"headline": "Gold, "}, scale=1).content
    for payload in PAYLOADS:
        await town.know(payload)
        answer = await town.post.fetch(town.post.token())
        drawn = Image.open(io.BytesIO(answer.content))
        drawn.load()
        assert (answer.status_code, drawn.size) == (200, (600, 200)), payload
        assert len(answer.content) < 60_000 and answer.content != plain, payload


async def test_what_a_page_says_of_the_moment_is_words_or_refused(town: Town) -> None:
    await town.know(HARMLESS)
    for payload in PAYLOADS:
        answer = await Page(town.post).decide(await token_for(town.post), "web.hero", context={"page": payload})
        assert answer.status_code in (200, 422), payload
        answer = await town.office.get(f"/console/agent?customer=C-1&context.page={quote(payload, safe='')}")
        assert answer.status_code == 200 and RUN not in "".join(Skeleton(answer.text).addresses), payload


NAMES = (  # an address, and the payload in each of its places
    "/e/{}.png", "/e/{}.html", "/e/{}.json", "/c/{}", "/c/x?url={}", "/c/{}?next={}", "/web/images/{}/x.png",
    "/web/images/x/{}", "/console/static/{}", "/console/static/style.css?v={}", "/demo/follow?mail={}",
    "/demo/product?to={}", "/console/sign-in?next={}", "/console/agent?customer={}", "/console/agent/pulse?customer={}",
    "/console/agent/why?customer=C-1&action={}", "/console/agent/why?customer={}&action=x", "/{}", "/v1/customers/{}",
    "/v1/decisions/{}", "/docs?{}", "/nextbest.js?{}",
)  # fmt: skip


@pytest.mark.parametrize("path", NAMES)
async def test_a_payload_as_a_name_in_an_address_is_words_or_refused(town: Town, path: str) -> None:
    plain: dict[int, Any] = {}
    for payload in PAYLOADS:
        answer = await _asked(town, path, payload)
        assert answer.status_code < 500, (path, payload)
        assert all(b"\r" not in each and b"\n" not in each for pair in answer.headers.raw for each in pair)
        assert "hit" not in answer.cookies
        to = answer.headers.get("location", "/")
        assert OURS.match(to), (path, payload, to)
        if answer.headers.get("content-type", "").startswith("text/html"):
            _check_page(answer, path, payload, plain)


async def _asked(town: Town, path: str, payload: str) -> httpx.Response:
    url = httpx.URL(f"http://localhost:8080{path.format(*[quote(payload, safe='')] * 2)}")
    return await town.office.browser.get(url, headers=KEY, follow_redirects=False)


def _check_page(answer: httpx.Response, path: str, payload: str, plain: dict[int, Any]) -> None:
    """Pages of one status have the same elements, whatever the name."""
    found = Skeleton(answer.text)
    assert all(OURS.match(each) for each in found.addresses), (path, payload, found.addresses)
    assert found.elements == plain.setdefault(answer.status_code, found.elements), (path, payload)


async def test_a_payload_as_a_name_in_a_body_is_words_or_refused(town: Town) -> None:
    await town.know(HARMLESS)
    token = (await town.post.ask())["placements"][0]["event_token"]
    for payload in PAYLOADS:
        named = {"customer": {"id": payload}}
        asked = {"channel": "web", "placements": ["web.hero"]}
        answers = [
            await town.post.http.post("/v1/decisions", json={**named, **asked}),
            await town.post.http.post(
                "/v1/decisions", json={"customer": {"id": "C-1"}, "channel": payload, "placements": [payload]}
            ),
            await town.post.http.post(
                "/v1/decisions", json={"customer": {"id": "C-1"}, **asked, "idempotency_key": payload}
            ),
            await town.post.http.post(
                "/v1/tokens", json={"placement": "email.hero", "message": payload, "recipients": [payload]}
            ),
            await town.post.tell(event_token=token, outcome="rejected", reason=payload, idempotency_key=payload),
            await town.post.tell(event_token=payload, outcome=payload),
            await town.post.http.patch("/v1/customers/C-1", json={"attributes": {payload: payload}}),
            await town.post.http.post("/v1/visitor-tokens", json={**named, "origin": payload}),
            await Page(town.post, origin=None).decide(payload, payload),
        ]
        for number, answer in enumerate(answers):
            assert answer.status_code < 500, (number, payload, answer.text)
            assert answer.headers["content-type"] == "application/json", (number, payload)


async def test_a_payload_in_a_form_of_the_console_is_words_or_refused(town: Town) -> None:
    await town.know(HARMLESS)
    csrf = token_in((await town.office.get("/console/agent?customer=C-1")).text)
    forms = (
        ("/console/agent/answers", {"customer": "{}", "event_token": "{}", "outcome": "accepted"}),
        ("/console/agent/answers", {"customer": "C-1", "event_token": "{}", "outcome": "rejected", "reason": "{}"}),
        ("/demo/customer", {"customer": "{}", "back": "{}"}),
        ("/demo/customer", {"customer": "C-1", "back": "{}"}),
        ("/demo/answers", {"action": "{}", "outcome": "accepted"}),
        ("/console/sign-in", {"user": "{}", "password": "{}", "next": "{}"}),
    )
    for path, fields in forms:
        plain: dict[int, Any] = {}
        for payload in PAYLOADS:
            body = {"csrf": csrf, **{name: value.replace("{}", payload) for name, value in fields.items()}}
            answer = await town.office.browser.post(path, data=body)
            assert answer.status_code < 500, (path, payload)
            assert OURS.match(answer.headers.get("location", "/")), (path, payload)
            if answer.headers.get("content-type", "").startswith("text/html"):
                _check_page(answer, path, payload, plain)


async def test_no_user_is_called_a_payload() -> None:
    for payload in PAYLOADS:
        if not re.fullmatch(r"[a-z0-9._-]{1,40}", payload):
            with pytest.raises(NextbestError):
                await add_user(MemoryStore(), payload, "agent")


def quoted(text: str) -> str:
    """A text as YAML reads it back, whose escapes know no pairs of surrogates."""
    return '"' + "".join(each if each.isascii() and each.isalnum() else f"\\U{ord(each):08x}" for each in text) + '"'


def authored(content: str, payloads: Sequence[str]) -> dict[str, bytes]:
    """A strategy with an action for each payload, one a line; content: has {} where the payload stands."""
    head = "{kind: offer, action_value: 1.0, purpose: marketing, treatments: {web: {placements: [web.hero], content: "
    lines = [f"  a{at}: {head}{content.replace('{}', quoted(each))}}}}}}}" for at, each in enumerate(payloads)]
    cards = "\n".join(["issue: grow", "group: cards", "actions:", *lines])
    files = {**FILES, "actions/cards.yaml": cards}
    return {path: text.encode() for path, text in files.items() if path != "contact_policies.yaml"}


def refused(content: str) -> set[str]:
    """The payloads that an author cannot publish there."""
    try:
        load_bundle(authored(content, PAYLOADS))
    except StrategyFaulty as error:
        return {PAYLOADS[fault.line - 4] for fault in error.faults if fault.file == "actions/cards.yaml"}
    return set()


def test_an_author_can_lead_nowhere_but_to_https() -> None:
    assert refused("{headline: x, cta: {label: x, url: {}}}") == set(PAYLOADS)
    assert refused("{headline: x, image: {}}") == set(PAYLOADS)


def test_markup_of_an_author_that_can_be_published_runs_nothing_and_leads_nowhere_else() -> None:
    sound = [each for each in PAYLOADS if each not in refused("{headline: x, body: {}}") and "{{" not in each]
    bank = load_bundle(authored("{headline: x, body: {}}", sound))

    said = [
        Skeleton(str(each.treatments["web"].content.render("en", {})["body"]))
        for each in bank.actions
        if each.group == "cards"
    ]
    assert len(said) == len(sound) >= 30 and {each for page in said for each in page.elements} == {("b",)}


def test_text_of_an_author_stays_text() -> None:
    plain = [each for each in PAYLOADS if "{{" not in each and each.strip()]
    bank = load_bundle(authored("{headline: {}}", plain))

    told = [
        each.treatments["web"].content.render("en", {})["headline"] for each in bank.actions if each.group == "cards"
    ]
    assert sorted(told) == sorted(plain)


async def test_no_log_line_and_no_metric_holds_a_payload_or_is_broken_by_one(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="nextbest")
    for payload in PAYLOADS[::12]:
        await town.know(payload)
        await town.pages()
        for path in NAMES:
            await _asked(town, path, payload)
    metrics = (await town.post.http.get("/metrics")).text

    said = [record.getMessage() for record in caplog.records]
    assert [each for each in said if RUN in each or "evil.example" in each or "C-1" in each] == []
    assert RUN not in metrics and "evil.example" not in metrics


def test_a_log_line_begins_with_its_time_whatever_it_says() -> None:
    for payload in PAYLOADS:
        record = logging.LogRecord("nextbest", logging.ERROR, "x", 1, "broken: %s", (ValueError(payload),), None)
        lines = Lines(FORMAT).format(record).split("\n")
        assert lines[0][:2] == "20" and all(each.startswith("    ") for each in lines[1:]), payload
        assert all(each.isprintable() for each in lines), payload
