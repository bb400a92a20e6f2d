"""Payloads of every kind, as values and as names, at every surface but the drawn page: they stay words.

Each alone at each of them is `python -m tests.proofs.inert`; here all stand in few names, and some alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import pytest

from api.console.users import add_user
from api.logs import FORMAT, Lines
from decisioning.catalog.load import load_bundle
from decisioning.errors import NextbestError, StrategyFaulty
from decisioning.store.memory import MemoryStore
from tests.every_channel import every_channel
from tests.payloads import PAYLOADS, ROWS, RUN, Skeleton, bunches, quoted
from tests.proofs import inert

pytestmark = pytest.mark.anyio
FILES = every_channel()
KINDS = {"html", "js", "svg", "url", "template", "css", "unicode", "control", "header", "json", "mustache", "log"}
SOME = list({row["kind"]: row["text"] for row in ROWS}.values())  # one of each kind


def test_the_payloads_are_as_many_as_promised_and_of_every_kind():
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 60
    assert {row["kind"] for row in ROWS} >= KINDS


async def test_a_name_makes_no_element_in_any_page_or_mail() -> None:
    await inert.check_names_on_pages([*bunches(4), *SOME])


async def test_what_an_author_wrote_makes_no_element_either() -> None:
    await inert.check_authors_texts([each for each in SOME if "{{" not in each])


async def test_json_and_amp_say_the_name_and_their_links_stay_ours() -> None:
    await inert.check_names_in_json([*bunches(4), *SOME])


async def test_a_name_is_drawn_as_letters_and_the_mails_link_carries_it_to_our_address_alone() -> None:
    await inert.check_names_in_mails(SOME)


async def test_what_a_page_says_of_the_moment_is_words_or_refused() -> None:
    await inert.check_context(SOME)


async def test_a_payload_as_a_name_in_an_address_is_words_or_refused() -> None:
    await inert.check_names_in_addresses(SOME)


async def test_a_payload_as_a_name_in_a_body_is_words_or_refused() -> None:
    await inert.check_names_in_bodies(SOME)


async def test_a_payload_in_a_form_of_the_console_is_words_or_refused() -> None:
    await inert.check_names_in_forms(SOME)


async def test_no_user_is_called_a_payload() -> None:
    for payload in PAYLOADS:
        if not re.fullmatch(r"[a-z0-9._-]{1,40}", payload):
            with pytest.raises(NextbestError):
                await add_user(MemoryStore(), payload, "agent")


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
    bad = refused("{headline: x, body: {}}")
    sound = [each for each in PAYLOADS if each not in bad and "{{" not in each]
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
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="nextbest")
    town = await inert.opened()
    for payload in PAYLOADS[::24]:
        await town.know(payload)
        await town.pages()
        for path in inert.NAMES:
            await inert.asked(town, path, payload)
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
