"""Mails: the picture, the link and what they leave behind, for persons, proxies, scanners and forgers."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image, ImageChops, ImageStat

from api import metrics
from api.deployed import Challenge
from api.email.following import destination_of
from api.email.tokens import opened
from api.journal import Journal
from decisioning.catalog.load import load_bundle
from decisioning.customer import PARTITION_COUNT, partition_of
from decisioning.errors import StoreUnavailable
from decisioning.opening import PERSON
from tests.catalog.strategies import small
from tests.decisioning.bank import FILES, GOLD, SILVER, strategy
from tests.email.post import APPLE, BANK, BROWSER, PERSONAL, SCANNER, Post, mail_bank, mail_files

pytestmark = pytest.mark.anyio
DEFAULT_URL = "https://bank.example/"
GOLD_URL = "https://bank.example/gold?from=mail"


@pytest.fixture
async def post() -> Post:
    desk = Post()
    await desk.know()
    await desk.service.studio.prepare(BANK)
    return desk


def size_of(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.mode in ("RGB", "P", "L")
        return image.size


def event_token_in(location: str) -> str:
    return parse_qs(urlsplit(location).query)["nextbest"][0]


async def test_a_persons_open_is_a_decision_and_an_impression(post: Post) -> None:
    answer = await post.fetch(post.token())

    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert size_of(answer.content) == (600, 200)
    state = await post.state()
    assert [(each.action, each.channels) for each in state.lease] == [(GOLD, ["email"])]
    assert [each.outcome for each in state.interactions] == ["selected", "impression"]
    assert {each.get("client_class") for each in await post.records()} == {"person"}


async def test_a_persons_open_is_counted_for_the_challenger_who_decided_it(post: Post) -> None:
    current = post.service.deployed()
    post.service.live.current = replace(current, challenge=Challenge(replace(current), 1.0, "salt"))
    before = metrics.CHALLENGED._value.get()

    await post.fetch(post.token(), by=APPLE)
    assert metrics.CHALLENGED._value.get() == before
    await post.fetch(post.token())

    assert metrics.CHALLENGED._value.get() == before + 1


async def test_an_answer_is_never_kept_by_anybody(post: Post) -> None:
    for answer in (await post.fetch(post.token()), await post.follow(post.token()), await post.fetch("nonsense")):
        assert "no-store" in answer.headers["cache-control"] and "max-age=0" in answer.headers["cache-control"]
        assert answer.headers["pragma"] == "no-cache" and answer.headers["expires"] == "0"
        assert not {"etag", "last-modified", "set-cookie"} & answer.headers.keys()
        assert int(answer.headers["content-length"]) == len(answer.content)


async def test_who_asks_about_a_customer_is_told_what_their_mails_showed(post: Post) -> None:
    held, read = post.token(), post.token()
    await post.fetch(held, by=APPLE)
    await post.fetch(read)

    mails = (await post.http.get("/v1/customers/C-1")).json()["mails"]

    assert [(each["placement"], each["action"], each["held"]) for each in mails] == [
        ("email.hero", GOLD, True),
        ("email.hero", GOLD, False),
    ]
    assert {each["decision_id"] for each in mails} == {
        each["decision_id"] for each in await post.records() if each["kind"] == "decision"
    }


async def test_head_is_answered_like_get_and_leaves_nothing(post: Post) -> None:
    answer = await post.fetch(post.token(), method="HEAD")
    link = await post.follow(post.token(), method="HEAD")

    assert answer.status_code == 200 and answer.content == b"" and int(answer.headers["content-length"]) > 100
    assert link.status_code == 302
    assert await post.records() == []


async def test_the_double_picture_is_twice_as_large(post: Post) -> None:
    answer = await post.fetch(post.token(), form="2x.png")

    assert size_of(answer.content) == (1200, 400)


async def test_an_address_that_ends_in_jpg_gives_a_jpeg_of_the_same_picture(post: Post) -> None:
    await post.know("poor", age=10)
    drawn, nothing, forged = post.token(), post.token("poor"), "forged"

    for token, scale in ((drawn, ""), (drawn, "2x."), (nothing, ""), (nothing, "2x."), (forged, ""), (forged, "2x.")):
        plain, answer = [await post.fetch(token, form=f"{scale}{ending}", by=APPLE) for ending in ("png", "jpg")]
        assert (plain.headers["content-type"], answer.headers["content-type"]) == ("image/png", "image/jpeg")
        with Image.open(io.BytesIO(answer.content)) as jpeg, Image.open(io.BytesIO(plain.content)) as png:
            assert (jpeg.format, jpeg.mode, jpeg.size) == ("JPEG", "RGB", png.size)
            apart = ImageChops.difference(jpeg, png.convert("RGB"))
        assert len(answer.content) < 60_000 and max(ImageStat.Stat(apart).mean) < 3


async def test_a_persons_open_fetches_the_units_that_its_offer_needs() -> None:
    post = Post(bank=mail_bank(stock=2))
    names = [f"C-{number}" for number in range(4)]  # of as many partitions, none of which has a unit at hand
    assert len({partition_of(name) for name in names}) == 4
    for name in names:
        await post.know(name)

    shown = [(await post.fetch(post.token(name), form="png")).status_code for name in names]

    assert shown == [200] * 4
    assert [[each.action for each in (await post.state(name)).lease] for name in names] == [[GOLD]] * 2 + [[SILVER]] * 2
    blocks = await post.store.blocks(range(PARTITION_COUNT))
    assert sum(block.spent for here in blocks for block in here.values()) == 2


async def test_a_machines_open_fetches_no_units_and_spends_none() -> None:
    post = Post(bank=mail_bank(stock=2))
    await post.know()

    await post.fetch(post.token(), by=APPLE)

    assert [here for here in await post.store.blocks(range(PARTITION_COUNT)) if here] == []
    assert [each.action for each in (await post.state()).renders] == [GOLD]


async def test_a_proxys_open_counts_nothing_and_its_picture_is_where_the_link_leads(post: Post) -> None:
    token = post.token()

    pictures = [(await post.fetch(token, by=APPLE)).content for _ in range(3)]
    link = await post.follow(token)

    assert len(set(pictures)) == 1
    assert link.status_code == 302 and link.headers["location"].startswith(GOLD_URL)
    state = await post.state()
    assert state.lease == [] and state.interactions == [] and state.draw_index == 0
    kinds = [(each["kind"], each.get("outcome"), each["client_class"]) for each in await post.records()]
    assert kinds == [("decision", None, "proxy"), ("response", "followed", "person")]


async def test_a_confirmed_click_on_a_proxys_picture_leases_it(post: Post) -> None:
    token = post.token()
    await post.fetch(token, by=APPLE)
    location = (await post.follow(token)).headers["location"]

    told = await post.tell(event_token=event_token_in(location), outcome="clicked")

    assert told.json()["status"] == "counted"
    state = await post.state()
    assert [each.action for each in state.lease] == [GOLD]
    assert [each.outcome for each in state.interactions] == ["selected", "clicked"]
    assert (await post.records())[-1]["claim"] == "leased"
    assert (await post.ask("web.hero"))["placements"][0]["reasons"] == ["lease"]


async def test_a_click_that_comes_after_another_offer_was_leased_is_late(post: Post) -> None:
    token = post.token()
    await post.fetch(token, by=APPLE)
    location = (await post.follow(token)).headers["location"]
    web = (await post.ask("web.hero"))["placements"][0]
    await post.tell(event_token=web["event_token"], outcome="rejected")
    await post.ask("web.hero", context={"page": "loans"})

    await post.tell(event_token=event_token_in(location), outcome="clicked")

    assert [each["claim"] for each in await post.records() if "claim" in each] == ["late_claim"]


async def test_a_link_keeps_the_rest_of_its_address(post: Post) -> None:
    token = post.token()
    await post.fetch(token)

    location = (await post.follow(token)).headers["location"]

    assert urlsplit(location).fragment == "top" and parse_qs(urlsplit(location).query)["from"] == ["mail"]


@pytest.mark.parametrize("address", ["tel:+3612345", "mailto:help@bank.example", "bankapp://cards/gold"])
async def test_a_link_that_is_no_page_gets_no_token(address: str) -> None:
    files = mail_files()
    files["actions/cards.yaml"] = re.sub(r"https://bank.example/gold[^\"]*", address, files["actions/cards.yaml"])
    files["strategy.yaml"] = FILES["strategy.yaml"] + "link_schemes: [mailto, tel, bankapp]\n"
    post = Post(bank=strategy(files))
    await post.know()
    token = post.token()
    await post.fetch(token)

    found = await destination_of(post.service, opened(post.service.sealer, token), PERSON)

    assert found.url == address


async def test_a_link_whose_picture_nobody_fetched_is_decided_as_it_is_followed(post: Post) -> None:
    link = await post.follow(post.token())

    assert link.headers["location"].startswith(GOLD_URL)
    assert [each["led_to"] for each in await post.records() if each.get("outcome") == "followed"] == [
        "click_without_render"
    ]


async def test_a_link_whose_picture_nobody_fetched_costs_nothing_until_the_click_is_confirmed(post: Post) -> None:
    location = (await post.follow(post.token())).headers["location"]
    before = await post.state()

    await post.tell(event_token=event_token_in(location), outcome="clicked")

    assert (before.lease, before.interactions, before.draw_index) == ([], [], 0)
    after = await post.state()
    assert [each.action for each in after.lease] == [GOLD]
    assert [each.outcome for each in after.interactions] == ["selected", "clicked"]


async def test_ten_looks_of_a_scanner_are_shown_quiet_and_leave_nothing(post: Post) -> None:
    token = post.token()
    quiet = post.service.studio.quiet("email.hero", scale=1).content

    for _ in range(10):
        assert (await post.fetch(token, by=SCANNER)).content == quiet
        assert (await post.follow(token, by=SCANNER)).headers["location"] == DEFAULT_URL

    assert await post.records() == []
    assert (await post.state()).renders == []


async def test_a_scanner_is_led_to_what_the_person_saw_without_a_token(post: Post) -> None:
    token = post.token()
    await post.fetch(token)

    assert (await post.follow(token, by=SCANNER)).headers["location"] == f"{GOLD_URL}#top"


async def test_nothing_to_say_is_quiet_and_leads_home(post: Post) -> None:
    await post.know("poor", age=10)
    await post.http.put(
        "/v1/customers/poor/consents", json=[{"channel": "email", "purpose": "marketing", "granted": False}]
    )
    token = post.token("poor")

    picture, link = await post.fetch(token), await post.follow(token)

    assert picture.content == post.service.studio.quiet("email.hero", scale=1).content
    assert link.headers["location"] == DEFAULT_URL


async def test_somebody_erased_is_not_brought_back_by_a_mail(post: Post) -> None:
    token = post.token()
    await post.fetch(token)
    await post.http.delete("/v1/customers/C-1")
    before = len(await post.records())

    brand = post.service.studio.fallback("email.hero", scale=1).content
    for by in (None, APPLE):
        assert (await post.fetch(token, by=by)).content == brand
    assert (await post.follow(token)).headers["location"] == DEFAULT_URL

    (snapshot,) = await post.store.read(["C-1"])
    assert snapshot.state_version == 0 and len(await post.records()) == before


async def test_with_the_store_down_every_form_shows_its_fallback(
    post: Post, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = post.token()

    async def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("down")

    post.service.journal = Journal(tmp_path)
    for verb in ("read", "commit", "ping"):
        monkeypatch.setattr(post.store, verb, down)
    picture, html, data = [await post.fetch(token, form=form) for form in ("png", "html", "json")]
    link = await post.follow(token)

    assert picture.content == post.service.studio.fallback("email.hero", scale=1).content
    assert "We are here for you" in html.text
    assert data.json()["degraded"] and data.json()["content"]["headline"] == "We are here for you"
    assert link.headers["location"] == DEFAULT_URL


async def test_a_store_that_hangs_costs_the_deadline_and_no_more(
    post: Post, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    post.service.journal = Journal(tmp_path)
    post.deadline(250)
    monkeypatch.setattr(post.store, "read", hang)
    token = post.token()

    answers = [await post.fetch(token, form=form) for form in ("png", "html", "json")]
    link = await post.follow(token)

    assert [answer.status_code for answer in answers] == [200] * 3 and link.headers["location"] == DEFAULT_URL
    assert len(list(tmp_path.iterdir())) == 1


PAYLOADS = [
    f"{before}{payload}{after}"
    for payload in (
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "https://evil.example/",
        "{{ customer.first_name }}",
        "{{7*7}}",
        "{% include '/etc/passwd' %}",
        "${7*7}",
        "*|NBTOKEN|*",
        "%%=v(@x)=%%",
        "\r\nLocation: https://evil.example/",
        "&lt;script&gt;&#x3C;b&#x3E;",
        "\u202egnp.exe\u0000",
    )
    for before, after in (("", ""), ('">', "<!--"), ("'-", "-'"), ("</td></table>", "<p"))
]


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_what_a_profile_says_reaches_every_form_inert(payload: str) -> None:
    post = Post(bank=PERSONAL)
    await post.know(first_name=payload)
    token = post.token()

    picture = await post.fetch(token)
    html, data = (await post.fetch(token, form="html")).text, (await post.fetch(token, form="json")).json()
    link = await post.follow(token)

    assert size_of(picture.content) == (600, 200)
    assert data["content"]["headline"] == f"Gold, {payload}"
    tags = Tags()
    tags.feed(html)
    assert tags.names <= {"table", "tr", "td", "a"} and tags.links == {f"http://desk/c/{token}"}
    assert tags.attributes <= {"role", "width", "cellpadding", "cellspacing", "style", "href"}
    location = urlsplit(link.headers["location"])
    assert (location.scheme, location.hostname) == ("https", "bank.example")
    assert "evil" not in {name for name, _ in link.headers.multi_items()} and "\n" not in link.headers["location"]


class Tags(HTMLParser):
    """What a browser would make elements of."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str | None] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value for name, value in attrs if name == "href"}


async def test_what_platforms_fetch_at_send_time_is_complete_and_selects_nothing(post: Post) -> None:
    token = post.token()

    answers = [(await post.fetch(token, form="json")).json() for _ in range(3)]
    html = (await post.fetch(token, form="html")).text

    assert [each["content"]["headline"] for each in answers] == ["Gold"] * 3
    assert answers[0]["link"].endswith(f"/c/{token}") and answers[0]["outcome"] == "offer"
    assert "Gold" in html and f"/c/{token}" in html
    assert [each.outcome for each in (await post.state()).interactions] == []


async def test_a_platform_that_orders_and_fetches_in_triplicate_gets_one_choice(post: Post) -> None:
    order = {"placement": "email.hero", "recipients": [{"id": "C-1"}], "message": "spring"}
    tokens = [(await post.http.post("/v1/tokens", json=order)).json()["tokens"][0]["token"] for _ in range(3)]

    answers = [await post.fetch(each, form="json", method=method) for each in tokens for method in ("GET", "POST")]

    assert len(set(tokens)) == 3 and {each.status_code for each in answers} == {200}
    assert len({each.json()["content"]["headline"] for each in answers}) == 1
    assert [each["kind"] for each in await post.records()] == ["decision"]
    assert len((await post.state()).renders) == 1


async def test_another_message_to_the_same_recipient_is_another_mail(post: Post) -> None:
    order = {"placement": "email.hero", "recipients": [{"id": "C-1"}]}
    for message in ("spring", "summer", "", ""):
        made = (await post.http.post("/v1/tokens", json={**order, "message": message})).json()
        await post.fetch(made["tokens"][0]["token"], by=APPLE)

    assert len((await post.state()).renders) == 4


@pytest.mark.parametrize(
    ("headers", "query", "status", "echoed"),
    [
        ({"amp-email-sender": "News@bank.example"}, "", 200, {"amp-email-allow-sender": "News@bank.example"}),
        ({"amp-email-sender": "news@bank.example", "origin": "https://mail.example"}, "", 200,
         {"amp-email-allow-sender": "news@bank.example"}),
        ({"origin": "https://mail.example"}, "?__amp_source_origin=news@bank.example", 200,
         {"access-control-allow-origin": "https://mail.example",
          "amp-access-control-allow-source-origin": "news@bank.example",
          "access-control-expose-headers": "AMP-Access-Control-Allow-Source-Origin"}),
        ({"origin": "https://mail.example"}, "", 403, {}),
        ({"amp-email-sender": "else@evil.example"}, "", 403, {}),
        ({"origin": "https://mail.example"}, "?__amp_source_origin=else@evil.example", 403, {}),
        ({}, "", 403, {}),
    ],
)  # fmt: skip
async def test_amp_is_read_by_allowed_senders_alone(post: Post, headers, query, status, echoed) -> None:
    post.service.settings = replace(post.service.settings, amp_senders=frozenset({"news@bank.example"}))

    answer = await post.fetch(post.token(), form=f"amp{query}", by=headers)

    assert answer.status_code == status
    sent = {name: value for name, value in answer.headers.items() if "amp" in name or "access-control" in name}
    assert sent == echoed
    items = answer.json()["items"]
    assert [each["headline"] for each in items] == (["Gold"] if status == 200 else [])


async def test_too_fast_a_token_is_shown_the_brand(post: Post) -> None:
    token = post.token()
    pictures = [(await post.fetch(token, by=APPLE)).content for _ in range(40)]

    assert pictures[-1] == post.service.studio.fallback("email.hero", scale=1).content != pictures[0]


async def test_before_any_strategy_is_known_a_picture_is_still_one() -> None:
    post = Post()
    token = post.token()
    post.service.live.current = None

    picture, link = await post.fetch(token), await post.follow(token, by=BROWSER)

    assert size_of(picture.content) == (600, 200)
    assert link.status_code == 200 and link.headers["content-type"].startswith("text/html")


async def test_image_files_of_the_strategy_reach_who_renders_elsewhere_as_addresses() -> None:
    files = mail_files()
    fields = "{headline: {type: text, required: true}, image: {type: image}, cta: {type: link}}"
    placements = files["placements.yaml"].replace("{headline: {type: text, required: true}, cta: {type: link}}", fields)
    cards = files["actions/cards.yaml"].replace('{headline: "Gold", cta', '{headline: "Gold", image: gold.png, cta')
    changes = {**FILES, **files, "placements.yaml": placements, "actions/cards.yaml": cards}
    bundle = {path: text.encode() for path, text in changes.items()}
    post = Post(bank=load_bundle({**bundle, "content/images/gold.png": small()["content/images/brand.png"]}))
    await post.know()
    token = post.token()

    data = (await post.fetch(token, form="json")).json()
    image = await post.http.get(data["content"]["image"])

    assert data["content"]["headline"] == "Gold" and data["content"]["image"].startswith("http://desk/web/images/")
    assert (image.status_code, image.headers["content-type"]) == (200, "image/png")
