"""Formatting: rules get their normal spelling, and nothing else in a file moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from decisioning.catalog.faults import Faults
from decisioning.catalog.formatting import formatted, normal_rule
from decisioning.catalog.load import load_bundle, read_bundle
from decisioning.catalog.yaml_text import plain, read_yaml
from rules import parse
from tests.catalog.strategies import SMALL, small

FILE = """\
# a heading
issue: grow
group:   cards          # odd spacing
actions:
  gold:
    kind: offer
    action_value: 85.0
    purpose: marketing
    eligibility: [%s]   # may they have it?
    context_weights: [{when: 'context.page=="cards"', weight: 1.5}]
    treatments: {web: {placements: [web.hero], content: {headline: "a   ==   b {{customer.x}}"}}}
"""


def rules_of(rule: str) -> str:
    """What becomes of one rule, as it stands in the file."""
    lines = formatted("actions/cards.yaml", (FILE % rule).encode()).decode().splitlines()
    assert len(lines) == len(FILE.splitlines())
    return lines[8].removeprefix("    eligibility: [").removesuffix("]   # may they have it?")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("'customer.age>=18'", "'customer.age >= 18'"),
        ('"customer.age>=18"', '"customer.age >= 18"'),
        ("customer.age>=18", "'customer.age >= 18'"),
        ("\"customer.tier == 'gold'\"", "'customer.tier == \"gold\"'"),
        ("'customer.tier == \"it''s\"'", "'customer.tier == \"it''s\"'"),
        ("'((customer.a)&&customer.b)||!(customer.c)'", "'customer.a && customer.b || !customer.c'"),
        ("'customer.a', 'customer.b>1',   'customer.c<2'", "'customer.a', 'customer.b > 1',   'customer.c < 2'"),
        ("'customer.age>=18 // adults'", "'customer.age>=18 // adults'"),
        ("'customer.age >='", "'customer.age >='"),
        ("customer.tier,   17", "customer.tier,   17"),
    ],
)
def test_a_rule_is_written_anew_in_its_place(written: str, expected: str):
    assert rules_of(written) == expected


def test_conditions_change_and_everything_else_stays():
    changed = formatted("actions/cards.yaml", (FILE % "").encode()).decode()

    assert changed == (FILE % "").replace('context.page=="cards"', 'context.page == "cards"')


@pytest.mark.parametrize("break_", ["\r\n", "\n"])
def test_line_breaks_and_byte_order_mark_stay(break_: str):
    text = "\ufeff" + ("# a\u2028b\x85c\n" + FILE % "'customer.age>=18'").replace("\n", break_)

    changed = formatted("actions/cards.yaml", text.encode()).decode()

    expected = text.replace("age>=18", "age >= 18").replace('page=="cards"', 'page == "cards"')
    assert changed == expected


@pytest.mark.parametrize("content", [b"a: [", b"\xff", b"issue: {x: y}", b"- 1", b"", b"actions: {gold: 1}"])
def test_what_cannot_be_read_is_left_alone(content: bytes):
    assert formatted("actions/cards.yaml", content) == content


@pytest.mark.parametrize("path", ["channels.yaml", "content/images/a.png", "unknown.txt"])
def test_files_without_rules_are_left_alone(path: str):
    assert formatted(path, b"a:   'b==c'") == b"a:   'b==c'"


def test_a_formatted_strategy_decides_as_before():
    squeezed = small({"actions/cards.yaml": [["customer.age >= 18", "(customer.age)>=18"]]})

    again = {path: formatted(path, content) for path, content in squeezed.items()}

    assert again != squeezed
    assert again["actions/cards.yaml"] == formatted("actions/cards.yaml", read_bundle(SMALL)["actions/cards.yaml"])
    before, after = load_bundle(squeezed), load_bundle(again)
    every_action = (1 << len(before.actions)) - 1
    asked = [list(each.gate_index.evaluate({}, every_action)) for each in (before, after)]
    assert asked[0] == asked[1]


@given(
    some.sampled_from(
        ["customer.a==1", "x.f('it''s')", "a&&(b||c)", 'r"\\d"+"\\n"', "[1,2][0]<3", "{'k':1}['k']", "a?b:c"]
    ),
    some.sampled_from(["'{}'", '"{}"', "{}"]),
)
def test_formatting_twice_is_formatting_once_and_keeps_the_tree(rule: str, quotes: str):
    escaped = rule.replace("'", "''") if quotes[0] == "'" else rule.replace("\\", "\\\\").replace('"', '\\"')
    content = (FILE % quotes.format(escaped if quotes != "{}" else rule)).encode()

    once = formatted("actions/cards.yaml", content)

    assert formatted("actions/cards.yaml", once) == once
    before, after = (plain(read_yaml("f", each, Faults())) for each in (content, once))
    if before is not None:
        rules = [each["actions"]["gold"]["eligibility"] for each in (before, after)]
        assert [tree(each) for each in rules[0]] == [tree(each) for each in rules[1]]


def tree(rule: object) -> object:
    try:
        return parse(rule) if isinstance(rule, str) else rule
    except Exception:
        return rule


def test_the_normal_spelling_is_normal():
    assert normal_rule("(a)&&b") == normal_rule(normal_rule("(a)&&b")) == "a && b"
