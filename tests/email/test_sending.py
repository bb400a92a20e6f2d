"""Tokens for a mail's recipients: by the API, for a file, and what becomes of them when keys rotate."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from pathlib import Path
from string import ascii_letters, digits

import pytest
from click.testing import CliRunner

from api.cli.main import commands
from api.email.sending import Mailing, seal_file
from api.email.snippets import PLATFORMS, snippet
from api.email.tokens import opened
from api.errors import Problem
from api.instants import wall_ms
from api.tokens import DAY_MS, LIFE_DAYS_MAX, TAKEN_UP_MS, Sealer, installation_sealer, renewed_sealer, retire, rotate
from decisioning.errors import NextbestError
from decisioning.store.memory import MemoryStore
from tests.email.post import BANK, Post

pytestmark = pytest.mark.anyio
MAILING = Mailing("email.hero", "spring", "https://mail.example", wall_ms() + DAY_MS, wall_ms())


async def test_a_few_recipients_get_tokens_that_open_to_them() -> None:
    post = Post()
    body = {"placement": "email.hero", "recipients": [{"id": "C-1"}, {"id": "C-2"}], "message": "spring"}

    answer = (await post.http.post("/v1/tokens", json=body)).json()

    found = [opened(post.service.seals, each["token"]) for each in answer["tokens"]]
    assert [(each.customer_key, each.placement, each.message) for each in found] == [
        ("C-1", "email.hero", "spring"),
        ("C-2", "email.hero", "spring"),
    ]
    first = answer["tokens"][0]
    assert first["image"] == f"/e/{first['token']}.png" and first["link"] == f"/c/{first['token']}"
    assert (await post.http.get(first["image"])).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"placement": "web.hero"}, 422, "unknown_placement"),
        ({"recipients": [{"id": "a@b.example"}]}, 422, "invalid_identifier"),
        ({"recipients": []}, 422, "invalid_field"),
        ({"valid_days": 400}, 422, "invalid_field"),
    ],
)
async def test_what_no_mail_can_show_is_refused(change: dict, status: int, code: str) -> None:
    body = {"placement": "email.hero", "recipients": [{"id": "C-1"}], **change}

    answer = await Post().http.post("/v1/tokens", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_tokens_are_made_by_who_may_decide_alone() -> None:
    post = Post()
    headers = post.add_key("other", "respond")
    body = {"placement": "email.hero", "recipients": [{"id": "C-1"}]}

    assert (await post.http.post("/v1/tokens", json=body, headers=headers)).status_code == 403


async def test_a_file_keeps_its_columns_and_gets_addresses() -> None:
    post, target = Post(), io.StringIO()
    source = io.StringIO('name,customer_id\n"Kovács, Anna",C-1\n\nBob,C-2\n')

    count = seal_file(source, target, post.service.seals, MAILING, column="customer_id")

    rows = list(csv.DictReader(io.StringIO(target.getvalue())))
    assert count == len(rows) == 2 and rows[0]["name"] == "Kovács, Anna"
    token = rows[1]["nextbest_token"]
    assert rows[1]["nextbest_image"] == f"https://mail.example/e/{token}.png"
    assert rows[1]["nextbest_link"] == f"https://mail.example/c/{token}"
    assert opened(post.service.seals, token).customer_key == "C-2"


@pytest.mark.parametrize(
    ("text", "said"),
    [("id\nC-1\n", "no column 'customer_id'"), ("customer_id\nC-1\na@b.example\n", "line 3"), ("", "no column")],
)
def test_a_file_that_would_break_a_mail_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(NextbestError, match=said):
        seal_file(io.StringIO(text), io.StringIO(), Post().service.seals, MAILING, column="customer_id")


async def test_keys_rotate_and_go_when_nothing_they_sealed_lives() -> None:
    store, now_ms = MemoryStore(), wall_ms()
    before = await installation_sealer(store)
    old = before.seal("render", ["a", 1])

    name = await rotate(store, now_ms=now_ms - TAKEN_UP_MS)
    after = await renewed_sealer(store, before)
    new = after.seal("render", ["b", 2])

    assert name == "k002" and new.startswith("k002.") and old.startswith("k001.")
    assert after.open("render", old, "token") == ["a", 1]
    with pytest.raises(Problem):
        before.open("render", new, "token")
    assert await renewed_sealer(store, after) is after
    assert await retire(store, now_ms=now_ms + LIFE_DAYS_MAX * DAY_MS) == []
    assert await retire(store, now_ms=now_ms + LIFE_DAYS_MAX * DAY_MS + 1) == ["k001"]
    with pytest.raises(Problem):
        (await renewed_sealer(store, after)).open("render", old, "token")


async def test_a_new_key_seals_only_when_every_process_can_have_read_it() -> None:
    store = MemoryStore()
    slow = await installation_sealer(store)
    await rotate(store, now_ms=wall_ms())
    quick = await renewed_sealer(store, slow)

    token = quick.seal("render", ["a"])

    assert "k002" in quick.key_ids and slow.open("render", token, "token") == ["a"]


async def test_two_who_rotate_at_once_make_two_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.tokens.TURN_MS", 50)

    class Slow(MemoryStore):
        async def put(self, kind: str, name: str, value: bytes) -> None:
            await asyncio.sleep(0)  # where another rotation may come in between
            await super().put(kind, name, value)

    store = Slow()
    first = asyncio.create_task(rotate(store, now_ms=0))
    second = asyncio.create_task(rotate(store, now_ms=0))
    name = await first
    key = await store.get("token_key", name)

    assert {name, await second} == {"k002", "k003"}
    assert await store.get("token_key", name) == key


def test_the_thousandth_key_follows_the_one_before() -> None:
    sealer = Sealer({"k999": b"a" * 32, "k1000": b"b" * 32})

    assert sealer.seal("render", ["a"]).startswith("k1000.")


def test_a_token_opens_as_it_was_sealed_and_in_no_other_spelling() -> None:
    sealer = Sealer({"k1": b"k" * 32})
    for length in range(6):  # the last letter of the text holds two bits too many, or four, or none
        token = sealer.seal("render", ["a" * length])
        others = {f"{token[:-1]}{letter}" for letter in ascii_letters + digits + "-_"} - {token}
        for other in (
            *others,
            f"{token}=",
            f"{token}==",
            f"{token}!",
            f"{token[:9]} {token[9:]}",
            f"{token[:9]}\u00e9",
        ):
            with pytest.raises(Problem):
                sealer.open("render", other, "token")

        assert sealer.open("render", token, "token") == ["a" * length]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_platforms_picture_and_link_carry_the_same_tag(platform: str) -> None:
    text = snippet(platform, "https://mail.example/", BANK.placements["email.hero"])

    tags = set(re.findall(r"https://mail\.example/[ec]/(.*?)(?:\.2x)?(?:\.png|\.json|\")", text))
    assert tags == {PLATFORMS[platform].tag}
    assert 'width="600" height="200"' in text and "Gold" not in text and text.count("{%") in (0, 3)


def test_the_command_prints_what_is_pasted() -> None:
    for platform in (*PLATFORMS, "amp"):
        said = CliRunner().invoke(commands, ["snippet", "email", "--platform", platform, "--url", "https://m.example"])
        assert said.exit_code == 0 and "https://m.example/e/" in said.stdout
        assert ("NEXTBEST_AMP_SENDERS" in said.stderr) is (platform == "amp")
        assert ("merge tag NBTOKEN" in said.stderr) is (platform == "mailchimp")
        assert "600x200" in said.stderr or platform == "amp"


def test_the_command_takes_the_size_of_the_picture_from_the_strategy() -> None:
    asked = ["snippet", "email", "--url", "https://m.example"]

    alone = CliRunner().invoke(commands, [*asked, "--strategy", "examples/retail_bank"])
    both = CliRunner().invoke(commands, [*asked, "--strategy", "examples/retail_bank", "--placement", "email.hero"])
    neither = CliRunner().invoke(commands, [*asked, "--placement", "email.hero"])

    assert 'width="600" height="300"' in alone.stdout and alone.stdout == both.stdout and not both.stderr
    assert isinstance(neither.exception, NextbestError) and "--strategy" in str(neither.exception)


def test_a_file_may_follow_the_word_tokens_itself(tmp_path: Path) -> None:
    file = tmp_path / "recipients.csv"
    file.write_text("customer_id\nC-1\n")

    said = CliRunner().invoke(commands, ["tokens", str(file), "--placement", "email.hero", "--url", "ftp://x"])

    assert isinstance(said.exception, NextbestError) and "--url" in str(said.exception)
