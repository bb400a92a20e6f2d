"""The portrait: what happened to a customer, in lines that people read."""

from __future__ import annotations

from api.console.portrait import EVENTS_MAX, HOUR_MS, MINUTE_MS, portrait_of
from decisioning.customer import DayCount, Interaction, Snapshot
from decisioning.interactions import DAY_MS
from decisioning.store.packing import fresh_state
from tests.decisioning.bank import GOLD, SILVER, strategy

NOW_MS = 1_790_000_000_000


def lines(*interactions: Interaction, day_counts: list[DayCount] | None = None) -> list[tuple[str, str, str, int]]:
    state = fresh_state()
    state.interactions, state.day_counts = list(interactions), day_counts or []
    events = portrait_of(Snapshot("C-1", NOW_MS, 1, None, state), strategy(), hidden=()).events
    return [(each.subject, each.outcome, each.age, each.times) for each in events]


def seen(minutes_ago: int, action: str = GOLD, outcome: str = "impression", channel: str = "web") -> Interaction:
    return Interaction(NOW_MS - minutes_ago * MINUTE_MS, outcome, action, channel)


def test_neighbours_that_read_the_same_are_one_line():
    told = lines(seen(190), seen(185), seen(183), seen(61), seen(0))

    assert told == [
        ("Gold", "impression", "just now", 1),
        ("Gold", "impression", "1 hour ago", 1),
        ("Gold", "impression", "3 hours ago", 3),
    ]


def test_lines_that_differ_in_anything_stay_apart_and_in_order():
    told = lines(seen(9, SILVER), seen(9), seen(9, outcome="clicked"), seen(9), seen(9, channel="email"))

    assert [each[3] for each in told] == [1] * 5


def test_days_that_are_counted_join_what_reads_the_same():
    last_ms = NOW_MS - DAY_MS - HOUR_MS
    told = lines(
        Interaction(last_ms + 1, "impression", GOLD, "web"),
        day_counts=[DayCount(last_ms // DAY_MS, "impression", GOLD, "web", 4, last_ms)],
    )

    assert told == [("Gold", "impression", "1 day ago", 5)]


def test_lines_are_counted_after_they_were_joined():
    assert lines(*(seen(9) for _ in range(EVENTS_MAX)), seen(19)) == [
        ("Gold", "impression", "9 minutes ago", EVENTS_MAX),
        ("Gold", "impression", "19 minutes ago", 1),
    ]
