"""Content: languages, defaults, escaping, and what renders are shared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.content import Content
from decisioning.catalog.load import load_bundle
from decisioning.catalog.strategy import Strategy
from decisioning.errors import ContentUnknown
from rules import Timestamp
from tests.catalog.strategies import loaded, small

HEADLINE = '"One percent back on everything"'
URL = '"https://bank.example/cashback"'
BEFORE_MIDNIGHT = Timestamp.parse("2026-03-01T22:59:59Z")  # in Budapest, whose day counts
MIDNIGHT = Timestamp.parse("2026-03-01T23:00:00Z")


def cashback(headline: str = HEADLINE, url: str = URL) -> Content:
    """The content of the small strategy's cashback on the web, with this YAML in it."""
    return web(load_bundle(small({"actions/cards.yaml": [[HEADLINE, headline], [URL, url]]})))


def web(strategy: Strategy) -> Content:
    return strategy.actions[strategy.action_index["grow/cards/cashback"]].treatments["web"].content


def activation(customer: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"customer": customer or {}, "context": context or {}, "now": Timestamp.from_ms(0), "channel": "web"}


def headline(text: str, customer: Mapping[str, Any] | None = None) -> str:
    return str(cashback(json.dumps(text)).render("en", activation(customer))["headline"])


def test_content_without_expressions_is_one_shared_value() -> None:
    content = cashback()

    assert content.render("en", activation()) is content.render("hu", activation({"age": 3}))
    assert content.render("en", activation()) == {
        "headline": "One percent back on everything",
        "cta": {"label": "Get cashback", "url": "https://bank.example/cashback"},
    }
    assert content.reads == frozenset()


def test_content_with_expressions_is_a_value_of_its_own() -> None:
    content = cashback('"Hi {{ customer.first_name }}"')

    first = content.render("en", activation({"first_name": "Ada"}))
    second = content.render("en", activation({"first_name": "Béla"}))

    assert (first["headline"], second["headline"]) == ("Hi Ada", "Hi Béla")
    assert first["cta"] is second["cta"]  # prepared parts are shared
    assert list(first) == ["headline", "cta"]
    assert content.reads == {"customer.first_name"}


@pytest.mark.parametrize(
    ("text", "customer", "expected"),
    [
        ("{{ customer.first_name | 'you' }}", {}, "you"),
        ('{{ customer.first_name | "you" }}', {}, "you"),
        ("{{ customer.first_name | 'you' }}", {"first_name": ""}, ""),
        ("{{ customer.age | 7 }}{{ customer.age | 1.50 }}", {}, "71.5"),
        ("{{customer.age}} and {{customer.age+1}}", {"age": 41}, "41 and 42"),
        ("{{ customer.balance_avg_3m }}", {"balance_avg_3m": 1234.5}, "1234.5"),
        ("{{ customer.balance_avg_3m }}", {"balance_avg_3m": 1234.0}, "1234"),
        ("{{ customer.balance_avg_3m - 5.0 }}", {"balance_avg_3m": 5.0}, "0"),
        ("{{ -customer.balance_avg_3m }}", {"balance_avg_3m": 0.0}, "0"),
        ("{{ customer.balance_avg_3m * 0.1 }}", {"balance_avg_3m": 3.0}, "0.3"),
        ("{{ 1.0 / customer.balance_avg_3m | 'much' }}", {"balance_avg_3m": 0.0}, "much"),
        ("{{ customer.since }}", {"since": BEFORE_MIDNIGHT}, "2026-03-01"),
        ("{{ customer.since }}", {"since": MIDNIGHT}, "2026-03-02"),
        ("{{ customer.since }}", {"since": Timestamp.parse("9999-12-31T23:30:00Z")}, None),
        (r"\{{ not this }} {{ customer.age }}", {"age": 1}, "{{ not this }} 1"),
        ("}} { }", {}, "}} { }"),
        ("{{ {'a': {'b': 'x'}}['a']['b'] }}", {}, "x"),
        ("{{ customer.age > 18 || customer.in_arrears ? 'a|b' : '}}' }}", {"age": 1, "in_arrears": False}, "}}"),
        ("{{ customer.age > 18 || customer.in_arrears ? 'a|b' : '}}' | '{{' }}", {"age": 19}, "a|b"),
        ("{{ customer.age > 18 ? 'a' : 'b' | '{{' }}", {}, "{{"),
        ("{{ r'a\\' + 'b' }}", {}, "a\\b"),
        ("{{ 'it\\'s' }}", {}, "it's"),
        ("<b>{{ customer.first_name }}</b>", {"first_name": "<&>"}, "<b><&></b>"),
        ("{{ customer.first_name }}", {}, None),
    ],
)
def test_expressions_in_text(text: str, customer: Mapping[str, Any], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ContentUnknown):
            headline(text, customer)
    else:
        assert headline(text, customer) == expected


@pytest.mark.parametrize(
    ("languages", "text", "asked", "expected"),
    [
        ("[en, hu]", '{en: a, hu: b}', "hu", "b"),
        ("[en, hu]", '{en: a, hu: b}', "HU", "b"),
        ("[en, hu]", '{en: a, hu: b}', "hu-HU", "b"),
        ("[en, hu]", '{en: a, hu: b}', "fr", "a"),
        ("[en, hu]", '{en: a, hu: b}', None, "a"),
        ("[en, hu]", '{en: a}', "hu", "a"),
        ("[en, hu]", 'a', "hu", "a"),
        ("[en, pt, pt-BR]", '{en: a, pt: b, pt-BR: c}', "pt-BR", "c"),
        ("[en, pt, pt-BR]", '{en: a, pt: b}', "pt-BR", "b"),
        ("[en, pt, pt-BR]", '{en: a, pt: b}', "pt-AO", "b"),
        ("[en, pt, pt-BR]", '{en: a}', "pt-BR", "a"),
        ("[en, pt, pt-BR]", '{en: a, pt: b, pt-BR: c}', "pt_BR", "c"),
        ("[en, de]", '{en: a, de: b}', "de-AT", "b"),
        ("[en, zh, zh-Hant]", '{en: a, zh: b, zh-Hant: c}', "zh-Hant-TW", "c"),
        ("[en, zh, zh-Hant]", '{en: a, zh: b}', "zh-Hant-TW", "b"),
        ("[en, zh, zh-Hant, zh-Hant-TW]", '{en: a, zh-Hant: c}', "zh-Hant-TW", "c"),
        ("[en, de-AT]", '{en: a, de-AT: b}', "de", "a"),
        ("[en, de]", '{en: a, de: b}', "", "a"),
        ("[en, de]", '{en: a, de: b}', "-de", "a"),
    ],
)  # fmt: skip
def test_languages_fall_back(languages: str, text: str, asked: str | None, expected: str) -> None:
    files = {path: re.sub(rb',?\s*hu: "[^"]*"', b"", content) for path, content in small().items()}
    files["strategy.yaml"] = files["strategy.yaml"].replace(b"[en, hu]", languages.encode())
    files["actions/cards.yaml"] = files["actions/cards.yaml"].replace(HEADLINE.encode(), text.encode())

    assert web(load_bundle(files)).render(asked, activation())["headline"] == expected


class Texts(HTMLParser):
    """Tags and texts of a document, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")))
def test_a_value_in_html_is_text_and_never_markup(value: str) -> None:
    strategy = loaded()
    content = strategy.actions[strategy.action_index["grow/cards/gold_upgrade"]].treatments["email"].content
    parser = Texts()

    parser.feed(content.render("en", activation({"first_name": value, "balance_avg_3m": 1.0}))["body"])
    parser.close()

    assert parser.tags == ["p"]
    assert parser.text == f"Your average balance is 1 EUR, {value}."


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_a_value_in_an_address_stays_one_value(value: str) -> None:
    strategy = loaded()
    content = strategy.actions[strategy.action_index["grow/cards/gold_upgrade"]].treatments["web"].content

    url = urlsplit(content.render("en", activation(context={"page": value}))["cta"]["url"])

    assert (url.scheme, url.netloc, url.path, url.fragment) == ("https", "bank.example", "/gold", "")
    assert unquote(url.query) == f"page={value}"
    assert url.query.count("=") == 1 and "&" not in url.query


@pytest.mark.parametrize(
    "url", ["mailto:help@bank.example", "tel:+3612345", "https://bank.example?a={{ customer.age | 1 }}"]
)
def test_addresses_that_are_fine(url: str) -> None:
    assert cashback(url=f'"{url}"').render("en", activation())["cta"]["url"]


def test_a_list_of_texts_renders_each() -> None:
    strategy = loaded()
    content = strategy.actions[strategy.action_index["grow/cards/gold_upgrade"]].treatments["call_center"].content

    points = content.render("en", activation({"since": Timestamp.parse("2020-02-01T00:00:00Z")}))["talking_points"]

    assert points == ["Free travel insurance", "A customer since 2020-02-01"]


def test_a_fallback_shows_the_fields_its_placement_declares() -> None:
    strategy = loaded()

    assert list(strategy.placements["email.hero"].fallback.render("hu", {})) == ["headline", "cta"]
    assert list(strategy.placements["web.home.hero"].fallback.render("hu", {})) == ["headline", "image", "cta"]
