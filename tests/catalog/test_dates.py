"""The calendar of actions against a look at each one's dates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from decisioning.catalog.dates import calendar_of

moments = st.none() | st.integers(0, 9)
windows = st.lists(st.tuples(moments, moments).filter(lambda each: None in each or each[0] < each[1]), max_size=8)


@given(windows, st.integers(-1, 10))
def test_an_action_is_live_from_its_start_until_before_its_end(windows, now_ms):
    live = sum(
        1 << index
        for index, (start_ms, end_ms) in enumerate(windows)
        if (start_ms is None or start_ms <= now_ms) and (end_ms is None or now_ms < end_ms)
    )

    assert calendar_of(windows).live(now_ms) == live
