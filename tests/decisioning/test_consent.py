"""Consent: of all that was ever stated the newest holds, in any order, and of one time the withdrawal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.consent import Statement, in_force, is_granted, records_of, taken
from decisioning.customer import Consent, State
from tests.decisioning.bank import strategy

NOW_MS = 1_000
EMAIL = ("email", "marketing")


def said(granted: bool, at_ms: int | None = None, source: str = "app", basis: str = "consent") -> Statement:
    return Statement(*EMAIL, granted, source, at_ms, basis)


def known(granted: bool, at_ms: int, version: int = 1, source: str = "app", basis: str = "consent") -> list[Consent]:
    return [Consent(*EMAIL, granted, at_ms, version, source, basis)]


@pytest.mark.parametrize(
    ("before", "statement", "after"),
    [
        pytest.param([], said(True), known(True, NOW_MS), id="the first word, now"),
        pytest.param([], said(False, 5), known(False, 5), id="the first word, of then"),
        pytest.param([], said(True, NOW_MS + 9), known(True, NOW_MS), id="no time is later than now"),
        pytest.param(known(True, 10), said(False, 11), known(False, 11, 2), id="a newer one wins"),
        pytest.param(known(False, 10), said(True, 9), known(False, 10), id="an older one changes nothing"),
        pytest.param(known(False, 10), said(True, 10), known(False, 10), id="a withdrawal stays in a tie"),
        pytest.param(known(True, 10), said(False, 10), known(False, 10, 2), id="a withdrawal wins a tie"),
        pytest.param(known(True, 10), said(True, 10), known(True, 10), id="taken before"),
        pytest.param(known(True, 10), said(True, 20), known(True, 20), id="said again: its time, no version"),
        pytest.param(known(True, 10), said(True, 20, "crm"), known(True, 20, 2, "crm"), id="another source says it"),
        pytest.param(
            known(True, 10), said(True, 20, basis="contract"), known(True, 20, 2, basis="contract"), id="another basis"
        ),
        pytest.param(known(True, 2_000), said(False), known(False, 2_000, 2), id="now, though the clock went back"),
        pytest.param(known(False, 2_000), said(True), known(False, 2_000), id="a yes waits until the clock is there"),
    ],
)
def test_a_statement_is_taken_in(before, statement, after):
    assert taken(before, [statement], now_ms=NOW_MS) == after


dated = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(dated, st.randoms())
def test_whatever_the_order_the_newest_holds_and_of_one_time_the_withdrawal(statements, random):
    """A law, against the obvious twin that sorts."""
    shuffled = statements.copy()
    random.shuffle(shuffled)

    (holds,) = taken([], [said(granted, at_ms) for granted, at_ms in shuffled], now_ms=NOW_MS)

    newest_ms = max(at_ms for _, at_ms in statements)
    assert holds.at_ms == newest_ms
    assert holds.granted == all(granted for granted, at_ms in statements if at_ms == newest_ms)
    assert 1 <= holds.version <= len(statements)


@settings(max_examples=100, deadline=None)
@given(dated, dated)
def test_statements_that_come_again_change_nothing_and_leave_no_record(first, second):
    statements = [said(granted, at_ms) for granted, at_ms in first + second]
    once = taken([], statements, now_ms=NOW_MS)

    again = taken(once, statements, now_ms=NOW_MS)

    assert again == once
    assert records_of(once, again, State("p", "a", ""), received_ms=NOW_MS) == []


def test_each_new_version_is_one_record_that_names_the_person_by_key_alone():
    before = known(True, 10)
    after = taken(before, [said(False, 20, "app"), Statement("web", "service", True, "crm", 5)], now_ms=NOW_MS)

    records = records_of(before, after, State("p1", "a1", "secret"), received_ms=30)

    bodies = [json.loads(each.body) for each in records]
    assert [(each["channel"], each["version"], each["granted"], each["source"]) for each in bodies] == [
        ("email", 2, False, "app"),
        ("web", 1, True, "crm"),
    ]
    assert bodies[0].keys() == {
        *("kind", "consent_id", "person_key", "channel", "purpose"),
        *("granted", "version", "basis", "source", "at_ms", "received_ms"),
    }
    assert [each["consent_id"] for each in bodies] == [each.record_id for each in records]
    assert len({each.record_id for each in records}) == 2


def test_a_commit_that_is_made_again_a_moment_later_writes_the_same_record():
    first, second = (
        records_of([], taken([], [said(True, 5)], now_ms=now_ms), State("p1", "a1", ""), received_ms=now_ms)
        for now_ms in (10, 20)
    )

    assert first[0].record_id == second[0].record_id


def test_what_holds_in_a_channel_is_the_customers_word_else_the_strategys_else_no():
    silent = strategy({"consents.yaml": "web: {service: {absent: granted, basis: contract}}"})
    consents = [Consent("web", "marketing", True, 5, 3, "app", "contract"), *known(False, 10, 7)]

    assert in_force(silent, consents, channel="web") == {
        "marketing": {"granted": True, "version": 3, "basis": "contract", "source": "app"},
        "service": {"granted": True, "version": 0, "basis": "contract", "source": "consents.yaml"},
    }
    assert in_force(silent, [], channel="email")["service"] == {
        **{"granted": False, "version": 0, "basis": "consent", "source": "consents.yaml"},
    }
    for channel in ("web", "email"):
        holds = in_force(silent, consents, channel=channel)
        for purpose, each in holds.items():
            assert is_granted(silent, consents, channel=channel, purpose=purpose) == each["granted"]
