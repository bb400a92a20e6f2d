"""Whatever is asked, told, changed, erased or awaited, in whatever order: twin and server agree, and promises hold."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.any_order.machine import AnyOrder, Tally
from tests.any_order.sides import Twins

QUICK = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_twin_and_server_agree_and_every_promise_holds_in_any_order(store_url: str) -> None:
    tally = Tally()

    with Twins(store_url) as twins:
        run_state_machine_as_test(lambda: AnyOrder(twins, tally), settings=QUICK)

    assert tally.races_lost > 0, "no operation ever lost a race"
    assert tally.claims.keys() == {"leased", "late_claim"}, "nobody answered what was held for a mail"
