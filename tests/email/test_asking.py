"""Asking: what becomes of a token that is late, too fast, or used by machines before the person."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image

from api.journal import Journal
from decisioning.errors import StoreUnavailable
from decisioning.interactions import DAY_MS
from tests.decisioning.bank import GOLD, strategy
from tests.email.post import APPLE, BROWSER, PERSON, SCANNER, Post, mail_files

FOOT = mail_files()
FOOT["placements.yaml"] += (
    FOOT["placements.yaml"][FOOT["placements.yaml"].index("email.hero:") :]
    .replace("email.hero:", "email.foot:")
    .replace("600x200", "400x180")
    .replace("https://bank.example/", "https://bank.example/foot")
    .replace("[30, 20], size: 540x80", "[30, 20], size: 340x80")
)


def size_of(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size


async def test_an_expired_token_shows_the_brand_of_its_own_placement() -> None:
    bank = strategy(FOOT)
    post = Post(bank=bank)
    await post.service.studio.prepare(bank)
    await post.know()
    token = post.token(placement="email.foot", valid_ms=-DAY_MS)

    picture, link = await post.fetch(token), await post.follow(token)

    assert size_of(picture.content) == (400, 180)
    assert link.headers["location"] == "https://bank.example/foot"
    assert (await post.state()).renders == []


async def test_scanners_use_up_nothing_of_a_persons_pace() -> None:
    post = Post()
    await post.know()
    token = post.token()
    for _ in range(30):
        await post.fetch(token, by=SCANNER)
        await post.fetch(token, method="HEAD")

    await post.fetch(token, by=PERSON)

    assert [each.action for each in (await post.state()).lease] == [GOLD]


async def test_a_mail_that_is_opened_again_was_seen_once() -> None:
    post = Post()
    await post.know()
    token, other = post.token(), post.token()
    first = await post.fetch(token)
    for _ in range(5):
        assert (await post.fetch(token)).content == first.content
        await post.fetch(token, by=APPLE)
    await post.fetch(other)

    outcomes = [each.outcome for each in (await post.state()).interactions]
    decided = [each for each in await post.records() if each["kind"] == "decision" and each["client_class"] == "person"]

    assert sorted(outcomes) == ["impression", "impression", "selected"]  # two mails, each seen
    assert len(decided) == 2
    assert "nextbest=" in (await post.follow(token)).headers["location"]


@pytest.mark.parametrize("by", [APPLE, PERSON], ids=["a proxy", "a person"])
async def test_a_picture_that_nobody_has_time_to_draw_promises_nothing(by: dict[str, str], monkeypatch) -> None:
    post = Post()
    await post.know()
    monkeypatch.setattr("api.email.studio.WAITING_MAX", 0)

    answer = await post.fetch(post.token(), by=by)

    assert answer.status_code == 200 and size_of(answer.content) == (600, 200)
    state = await post.state()
    assert (state.lease, state.interactions, state.renders) == ([], [], [])


async def test_a_store_that_takes_no_notes_does_not_change_where_a_link_leads() -> None:
    post = Post()
    await post.know()
    token = post.token()
    await post.fetch(token)
    kept = []

    class Journal:
        async def take(self, _: object, kind: str, fields: dict[str, object]) -> None:
            kept.append((kind, fields["how"]))

    async def refused(_: object) -> None:
        raise StoreUnavailable("no memory is left")

    post.service.journal = Journal()  # type: ignore[assignment]
    post.store.commit = refused  # type: ignore[method-assign, assignment]

    link = await post.follow(token, by=BROWSER)

    assert link.headers["location"].startswith("https://bank.example/gold")
    assert kept == [("followed", "shown")]


async def test_the_link_follows_a_mail_that_shows_again_what_it_showed_before() -> None:
    post = Post()
    await post.know()
    token = post.token()

    async def consent(granted: bool) -> None:
        body = [{"channel": "email", "purpose": "marketing", "granted": granted}]
        (await post.http.put("/v1/customers/C-1/consents", json=body)).raise_for_status()
        await asyncio.sleep(0.002)  # a later word is of a later millisecond

    first = await post.fetch(token)
    await consent(False)
    between = await post.fetch(token)
    await consent(True)
    again = await post.fetch(token)

    assert first.content == again.content != between.content
    link = (await post.follow(token)).headers["location"]
    assert link.startswith("https://bank.example/gold") and "nextbest=" in link
    assert [each.outcome for each in (await post.state()).interactions].count("impression") == 1


async def test_a_full_journal_does_not_change_where_a_link_leads(tmp_path: Path) -> None:
    post = Post()
    post.service.journal = Journal(tmp_path, bytes_max=1)
    await post.know()
    token = post.token()
    await post.fetch(token)

    async def refused(_: object) -> None:
        raise StoreUnavailable("no memory is left")

    post.store.commit = refused  # type: ignore[method-assign, assignment]

    assert (await post.follow(token)).headers["location"].startswith("https://bank.example/gold")
