"""What mail asks of an answer beyond the picture: which row of docs/email.md has no other test has one here."""

from __future__ import annotations

import io
from base64 import urlsafe_b64decode

import pytest
from PIL import Image

from api.email.snippets import PLATFORMS, snippet
from api.instants import wall_ms
from decisioning.learning.labels import reading_of
from decisioning.store.memory import MemoryStore
from tests.decisioning.bank import GOLD, SILVER
from tests.email.post import APPLE, BANK, BROWSER, PERSON, SCANNER, Post
from tests.email.test_mail import DEFAULT_URL, GOLD_URL, event_token_in

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000
NO_EMAIL = [{"channel": "email", "purpose": "marketing", "granted": False}]


class Clock:
    """The store's, which tests move."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return wall_ms() + self.ahead_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def post(clock: Clock) -> Post:
    desk = Post(MemoryStore(clock))
    await desk.know()
    await desk.service.studio.prepare(BANK)
    return desk


async def led_to(post: Post) -> list[str]:
    """What is noted of followed links."""
    return [each["led_to"] for each in await post.records() if each.get("outcome") == "followed"]


async def test_a_token_says_nothing_that_can_be_read(post: Post) -> None:
    raw = urlsafe_b64decode(post.token("anna-kovacs-7").partition(".")[2] + "==")

    assert b"anna" not in raw and b"email" not in raw and len(raw) > 60


async def test_a_link_leads_to_the_last_picture_whoever_but_a_scanner_was_shown_it(post: Post) -> None:
    token = post.token()
    await post.fetch(token, by=APPLE)
    await post.know(income=10.0)  # too little for gold by now
    await post.fetch(token, by=APPLE)
    await post.know()
    await post.fetch(token, by=SCANNER)

    link = await post.follow(token)

    assert link.headers["location"].startswith("https://bank.example/silver?")
    assert [each.action for each in (await post.state()).renders] == [SILVER]


@pytest.mark.parametrize("by", [APPLE, PERSON])
async def test_what_a_picture_promised_is_honoured_long_after_its_choice_has_ended(
    post: Post, clock: Clock, by: dict[str, str]
) -> None:
    token = post.token(valid_ms=40 * DAY_MS)
    await post.fetch(token, by=by)
    clock.ahead_ms = 30 * DAY_MS

    link = await post.follow(token)

    assert link.headers["location"].startswith(GOLD_URL)
    assert await led_to(post) == ["shown"]
    told = await post.tell(event_token=event_token_in(link.headers["location"]), outcome="clicked")
    assert told.json()["status"] == "counted"


async def test_a_link_whose_consent_was_withdrawn_leads_home_and_says_so(post: Post) -> None:
    token = post.token()
    await post.fetch(token)
    await post.http.put("/v1/customers/C-1/consents", json=NO_EMAIL)

    link = await post.follow(token)

    assert link.headers["location"] == DEFAULT_URL
    assert await led_to(post) == ["nearest"]


@pytest.mark.parametrize("form", ["png", "2x.png", "jpg", "html", "json"])
async def test_head_is_what_get_would_be_without_its_body(post: Post, form: str) -> None:
    token = post.token()
    head = await post.fetch(token, form=form, method="HEAD")
    quiet = await post.fetch(token, form=form, by=SCANNER if "htm" not in form and "json" not in form else APPLE)

    assert head.status_code == quiet.status_code == 200 and head.content == b""
    assert head.headers["content-type"] == quiet.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


async def test_nothing_is_a_whole_body_for_a_platform_that_sends(post: Post) -> None:
    await post.http.put("/v1/customers/C-1/consents", json=NO_EMAIL)
    token = post.token()

    data, html = [await post.fetch(token, form=form) for form in ("json", "html")]

    assert (data.status_code, html.status_code) == (200, 200)
    body = data.json()
    assert (body["outcome"], body["content"], body["degraded"]) == ("nothing", None, False)
    assert body["link"].endswith(f"/c/{token}") and html.text.startswith("<table")


async def test_content_is_never_a_redirect(post: Post) -> None:
    for token in (post.token(), "forged", "", "a/../b", "//evil.example", "k1./"):
        for form in ("json", "html", "png", "jpg"):
            assert (await post.fetch(token, form=form)).status_code == 200


async def test_where_and_by_what_a_mail_is_read_is_no_context(post: Post) -> None:
    await post.fetch(post.token(), by={**PERSON, "x-forwarded-for": "10.1.2.3", "accept-language": "hu"})

    (decision,) = [each for each in await post.records() if each["kind"] == "decision"]
    assert decision["context"] == {}


async def test_every_record_of_an_opening_or_a_link_says_who_fetched(post: Post) -> None:
    for number, by in enumerate((PERSON, APPLE, {"user-agent": "Pegasus Mail 4.8"})):
        token = post.token(f"C-{number}")
        await post.know(f"C-{number}")
        await post.fetch(token, by=by)
        await post.follow(token, by=BROWSER)

    records = await post.records()
    assert {each["client_class"] for each in records if each["kind"] == "decision"} == {"person", "proxy", "unknown"}
    assert all(each["client_class"] for each in records) and len(records) == 7


async def test_undelivered_takes_the_pending_no_back(post: Post) -> None:
    token = post.token()
    await post.fetch(token)  # a machine that passed for a person: the mail came back
    location = (await post.follow(token)).headers["location"]

    await post.tell(event_token=event_token_in(location), outcome="undelivered")

    told = [each["outcome"] for each in await post.records() if each["kind"] == "response" and each["action"] == GOLD]
    behaviour = {"clicked": "positive"}
    assert reading_of({"impression"}, behaviour).label == 0
    assert {"impression", "undelivered"} <= set(told) and reading_of(told, behaviour).label is None


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_snippet_is_what_old_mail_programs_read(platform: str) -> None:
    text = snippet(platform, "https://mail.example", BANK.placements["email.hero"])

    assert 'border="0"' in text and 'style="display:block;max-width:100%;height:auto"' in text
    assert 'alt="Your current benefit, see it online"' in text
    assert not any(
        name in text for action in BANK.actions for name in (action.key, action.key.rpartition("/")[2].title())
    )
    assert ":no_cache" in text or platform != "braze"


async def test_pictures_are_png_or_jpeg_alone(post: Post) -> None:
    for ending in ("png", "jpg", "gif", "webp", "svg", "PNG", ""):
        answer = await post.fetch(post.token(), form=ending)
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format in ("PNG", "JPEG")
        assert answer.headers["content-type"] in ("image/png", "image/jpeg")
