"""Quiet hours: what is sent waits for the customer's own clock; what is opened or read never asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.strategy import Quiet
from decisioning.decide import decide, prepare
from decisioning.explain import explain
from decisioning.moment import moment_of
from decisioning.personas import failures
from decisioning.quiet_hours import is_quiet, quiet_until, zone_of
from decisioning.records import Versions, core_of, decision_record, open_record, replay
from decisioning.renders import render_again
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.store.packing import canonical, fresh_state, parsed
from tests.decisioning.bank import FILES, GOLD, PROPENSITIES, SILVER, customer, later, shown, strategy

BUDAPEST = ZoneInfo("Europe/Budapest")
NIGHT = Quiet((time(22), time(7)), frozenset(), frozenset())
SMALL_HOURS = Quiet((time(2, 30), time(4)), frozenset(), frozenset())
MINUTE_MS = 60_000
BANK = strategy(
    {
        "strategy.yaml": FILES["strategy.yaml"] + "timezone_attribute: customer.zone\n",
        "schema.yaml": FILES["schema.yaml"].replace("context:", "  zone: {type: string, source: crm}\ncontext:"),
        "channels.yaml": FILES["channels.yaml"].replace(
            "email: {", 'email: {quiet_hours: ["22:00", "07:00"], quiet_days: [sunday, 2026-12-25], '
        ),
        "actions/safety.yaml": FILES["actions/safety.yaml"].replace(
            "purpose: service", "purpose: service\n    mandatory: true"
        )
        + '      email: {placements: [email.hero], content: {headline: "Please check your card"}}\n',
    }
)
ALERT = "service/safety/alert"


def ms(text: str) -> int:
    """RFC 3339, or a clock in Budapest."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=BUDAPEST)).timestamp() * 1000)


def utc(at_ms: int | None) -> str | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        pytest.param(NIGHT, "2026-11-18T21:59:59.999", None, id="just before"),
        pytest.param(NIGHT, "2026-11-18T22:00", "2026-11-19T06:00:00+00:00", id="over midnight"),
        pytest.param(NIGHT, "2026-11-19T06:59:59", "2026-11-19T06:00:00+00:00", id="after midnight"),
        pytest.param(NIGHT, "2026-11-19T07:00", None, id="the end is no part of it"),
        pytest.param(
            Quiet((time(12), time(13)), frozenset(), frozenset()),
            "2026-11-19T12:30",
            "2026-11-19T12:00:00+00:00",
            id="by day",
        ),
        pytest.param(NIGHT, "2026-03-28T23:00", "2026-03-29T05:00:00+00:00", id="a night of nine hours less one"),
        pytest.param(NIGHT, "2026-10-24T23:00", "2026-10-25T06:00:00+00:00", id="a night of nine hours and one"),
        pytest.param(SMALL_HOURS, "2026-03-29T01:59:59", None, id="skipped hours are not waited for"),
        pytest.param(SMALL_HOURS, "2026-03-29T03:00", "2026-03-29T02:00:00+00:00", id="begun by the skip"),
        pytest.param(
            Quiet((time(1), time(2, 30)), frozenset(), frozenset()),
            "2026-03-29T01:30",
            "2026-03-29T01:00:00+00:00",
            id="ended by the skip",
        ),
        pytest.param(SMALL_HOURS, "2026-10-25T02:45", "2026-10-25T01:00:00+00:00", id="interrupted by the clock"),
        pytest.param(
            SMALL_HOURS,
            "2026-10-25T02:45:00+01:00",
            "2026-10-25T03:00:00+00:00",
            id="the same hour for the second time",
        ),
        pytest.param(
            Quiet(None, frozenset({6}), frozenset({date(2026, 12, 25), date(2026, 12, 26)})),
            "2026-12-25T00:00",
            "2026-12-27T23:00:00+00:00",
            id="two holidays and a Sunday, from midnight to midnight",
        ),
        pytest.param(
            Quiet((time(22), time(7)), frozenset({6}), frozenset()),
            "2026-11-21T22:30",
            "2026-11-23T06:00:00+00:00",
            id="a night, a day and a night",
        ),
    ],
)
def test_a_quiet_time_ends_when_the_wall_clock_says_so(quiet, now, until):
    assert utc(quiet_until(quiet, BUDAPEST, now_ms=ms(now))) == until


ZONES = ("Europe/Budapest", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "UTC")
clocks = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))
hours = st.none() | st.tuples(clocks, clocks).filter(lambda pair: pair[0] != pair[1])
quiets = st.builds(Quiet, hours, st.frozensets(st.integers(0, 6), max_size=3), st.just(frozenset({date(2026, 12, 25)})))
# Around the nights in which these zones change their clocks, and the day that Samoa left out.
nights = st.sampled_from(
    ["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-04", "2026-10-03", "2011-12-29"]
)


@settings(max_examples=60, deadline=None)
@given(quiets, st.sampled_from(ZONES), nights, st.integers(0, 3 * 24 * 60))
def test_the_end_is_that_of_a_watchman_who_looks_every_minute(quiet, zone_name, night, minutes):
    zone = ZoneInfo(zone_name)
    now_ms = ms(f"{night}T00:00:00+00:00") + minutes * MINUTE_MS

    def looks_quiet(at_ms: int) -> bool:
        wall = datetime.fromtimestamp(at_ms // 1000, zone).replace(tzinfo=None)
        return is_quiet(quiet, wall)

    end_ms = now_ms
    while looks_quiet(end_ms):
        end_ms += MINUTE_MS

    assert quiet_until(quiet, zone, now_ms=now_ms) == (None if end_ms == now_ms else end_ms)


@pytest.mark.parametrize(
    ("stated", "zone"),
    [
        (None, "Europe/Budapest"),
        ("America/New_York", "America/New_York"),
        ("Mars/Olympus", "Europe/Budapest"),
        ("../../etc/passwd", "Europe/Budapest"),
        ("Europe", "Europe/Budapest"),
        ("", "Europe/Budapest"),
    ],
)
def test_the_clock_is_the_customers_own_where_it_is_known(stated, zone):
    assert str(zone_of(BANK, {} if stated is None else {"zone": stated})) == zone


def ask(now: str, *, sending: bool, channel: str = "email", snapshot=None, bank=BANK, **attributes):
    snapshot = snapshot or customer(now_ms=ms(now), **attributes)
    snapshot = replace(snapshot, now_ms=ms(now))
    request = Request("C-1", channel, (f"{channel}.hero",), {}, sending=sending)
    return snapshot, request, decide(request, snapshot, bank, StatedScorer(bank, PROPENSITIES), decision_id="d1")


def test_nothing_is_sent_at_night_and_the_answer_says_until_when():
    snapshot, request, decision = ask("2026-11-18T23:00", sending=True)

    (placed,) = decision.placements
    assert (placed.outcome, placed.reasons, placed.selection_probability) == ("nothing", ["quiet_hours"], None)
    assert utc(placed.valid_until_ms) == "2026-11-19T06:00:00+00:00"
    filling = prepare(request, snapshot, BANK, StatedScorer(BANK, PROPENSITIES), decision_id="d1")
    told = {each["action"]: each for each in explain(filling, decision)}
    assert told[GOLD]["reason"] == "quiet_hours" and told[GOLD]["quiet"] == {"until": "2026-11-19T06:00:00Z"}


def test_it_is_night_where_the_customer_is():
    _, _, there = ask("2026-11-18T23:00", sending=True, zone="America/New_York")
    _, _, nowhere = ask("2026-11-18T23:00", sending=True, zone="Mars/Olympus")

    assert shown(there) == [("offer", GOLD)]
    assert nowhere.placements[0].reasons == ["quiet_hours"]


def test_a_quiet_nothing_is_neither_held_nor_counted_so_a_mail_opened_meanwhile_shows_what_it_would():
    before, _, night = ask("2026-11-18T23:00", sending=True)
    assert night.state.holds == before.state.holds == {}
    assert night.state.draw_index == before.state.draw_index

    _, _, opened = ask("2026-11-18T23:30", sending=False, snapshot=later(before, night))

    assert shown(opened) == [("offer", GOLD)]


def test_a_promise_stays_through_the_night_and_is_sent_in_the_morning():
    snapshot, _, page = ask("2026-11-18T21:30", sending=False)
    assert shown(page) == [("offer", GOLD)]

    _, _, night = ask("2026-11-18T22:30", sending=True, snapshot=later(snapshot, page))
    _, _, elsewhere = ask("2026-11-18T22:30", sending=False, channel="web", snapshot=later(snapshot, page))

    assert night.placements[0].reasons == ["quiet_hours"]
    assert night.state.lease == page.state.lease
    assert shown(elsewhere) == [("offer", GOLD)]


def test_what_is_mandatory_is_sent_at_any_time():
    _, _, decision = ask("2026-11-18T23:00", sending=True, suspicious=True)

    assert shown(decision) == [("message", ALERT)]


def test_a_stored_answer_asked_for_again_at_night_is_not_sent():
    snapshot, request, evening = ask("2026-11-18T21:59", sending=True)
    placed = evening.placements[0]

    night = replace(snapshot, now_ms=ms("2026-11-18T22:01"))
    day = replace(snapshot, now_ms=ms("2026-11-19T07:00"))
    silent, morning = (
        render_again(placed, moment_of(request, each, BANK, BANK.reads), each, BANK) for each in (night, day)
    )

    assert (silent.outcome, silent.reasons) == ("nothing", ["quiet_hours"])
    assert utc(silent.valid_until_ms) == "2026-11-19T06:00:00+00:00"
    assert (morning.outcome, morning.action) == ("offer", GOLD)


moments = st.integers(ms("2026-10-20T00:00"), ms("2026-12-27T00:00"))


@settings(max_examples=80, deadline=None)
@given(moments, st.sampled_from(["web", "email"]), st.sampled_from([None, *ZONES]), st.booleans())
def test_without_sending_quiet_hours_change_nothing_and_with_it_they_only_silence(now_ms, channel, zone, suspicious):
    """A law: the same question to a strategy without quiet hours."""
    channels = {name: replace(each, quiet=None) for name, each in BANK.channels.items()}
    never_quiet = replace(BANK, channels=channels)
    now = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat()
    who = {"zone": zone, "suspicious": suspicious}

    _, _, free = ask(now, sending=False, channel=channel, bank=never_quiet, **who)
    _, _, opened = ask(now, sending=False, channel=channel, **who)
    _, _, sent = ask(now, sending=channel == "email", channel=channel, **who)

    assert core_of(opened.placements) == core_of(free.placements) and opened.state == free.state
    if sent.placements[0].reasons != ["quiet_hours"]:
        assert core_of(sent.placements) == core_of(free.placements) or shown(sent) == [("message", ALERT)]


def test_the_record_of_what_was_sent_at_night_decides_again_to_the_same():
    snapshot = customer(now_ms=ms("2026-11-18T23:00"), zone="Europe/Budapest")
    snapshot.state.sealing_key = fresh_state().sealing_key
    _, request, decision = ask("2026-11-18T23:00", sending=True, snapshot=snapshot)

    packed = decision_record(decision, request, snapshot, BANK, Versions("s", "m"), key_id="k")
    recorded = open_record(parsed(packed), snapshot.state.sealing_key, BANK)

    again = replay(recorded, BANK, StatedScorer(BANK, PROPENSITIES))
    assert canonical(core_of(again.placements)) == canonical(recorded.core)
    assert again.placements[0].reasons == ["quiet_hours"]


def test_a_persona_meets_its_moment():
    persona = (
        "name: asleep\ncustomer: {age: 40, income: 3000.0}\nchannel: email\nplacements: [email.hero]\n"
        "at: 2026-11-18T23:30:00+01:00\nsending: true\npropensities: {default: 0.1}\n"
        f"expect: {{email.hero: {{outcome: nothing}}}}\nexpect_dropped: {{{SILVER}: quiet_hours}}\n"
    )
    files = {"channels.yaml": FILES["channels.yaml"].replace("email: {", 'email: {quiet_hours: ["22:00", "07:00"], ')}
    noon = {"personas/asleep.yaml": persona.replace("23:30", "12:30")}

    assert failures(strategy({**files, "personas/asleep.yaml": persona}), now_ms=0) == []
    assert len(failures(strategy({**files, **noon}), now_ms=0)) == 2


def test_the_watchman_of_these_tests_sees_both_kinds_of_change():
    """The sampled nights do change clocks: otherwise the property above would prove little."""
    for name, night in (("Europe/Budapest", "2026-03-28"), ("Australia/Lord_Howe", "2026-04-04")):
        start = datetime.fromisoformat(f"{night}T00:00:00+00:00")
        offsets = {(start + timedelta(hours=hour)).astimezone(ZoneInfo(name)).utcoffset() for hour in range(72)}
        assert len(offsets) == 2
