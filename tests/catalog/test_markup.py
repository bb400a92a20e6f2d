"""Markup: an allow list that sees tags as browsers do."""

from __future__ import annotations

import pytest

from decisioning.catalog.markup import flaw_of


@pytest.mark.parametrize("blank", ["\u00a0", "\v", "\x1c", "\x1f", "\u2003", "\u3000"], ids=ascii)
def test_what_only_python_takes_for_a_blank_begins_no_attribute(blank: str) -> None:
    hidden = f"""<img title={blank}"y onerror=alert(1) src=https://x.invalid/" alt=''>"""
    script = f"<a title={blank}'y href=javascript:alert(1) x='>z</a>"

    assert flaw_of(hidden, lambda _: True) is not None
    assert flaw_of(script, lambda address: address.startswith("https:")) is not None


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\f", "\r\n"], ids=ascii)
def test_the_blanks_of_html_do(blank: str) -> None:
    assert flaw_of(f'<a{blank}href="https://bank.example/"{blank}title="a b">z</a>', lambda _: True) is None
