"""Figures of the load test: percentiles, trends, saturation and CPU agree with what is known to be true."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from random import Random
from xml.etree import ElementTree

import pytest

from loadtest.accounting import Usage, usage_of
from loadtest.chart import chart
from loadtest.drive import Measured
from loadtest.flames import flame_graph
from loadtest.histogram import ERROR_MAX, Histogram
from loadtest.latency import latency_claims
from loadtest.profile import ELSEWHERE, places_of, stacks_of
from loadtest.saturation import EXACTNESS, keeps_up, saturation
from loadtest.soak import drift_of
from loadtest.trend import trend_of


def exponential(count: int, mean_s: float) -> Histogram:
    histogram = Histogram()
    for index in range(count):
        histogram.add(-mean_s * log(1.0 - (index + 0.5) / count))  # evenly over its quantiles: no chance in the test
    return histogram


@pytest.mark.parametrize("mean_s", [50e-6, 2e-3, 1.5])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_percentiles_of_a_known_distribution_come_out_within_the_stated_error(mean_s: float, share: float) -> None:
    true_s = -mean_s * log(1.0 - share)

    found_s = exponential(50_000, mean_s).percentile(share)

    assert found_s is not None
    assert 0.9999 * true_s <= found_s <= (1.0 + ERROR_MAX) * 1.0001 * true_s


@pytest.mark.parametrize(("count", "is_told"), [(9_999, False), (10_000, True)])
def test_a_percentile_needs_ten_values_beyond_it(count: int, is_told: bool) -> None:
    assert (exponential(count, 1.0).percentile(0.999) is not None) == is_told


BURN = """
import os, sys, time
if sys.argv[1] == "child" and os.fork():
    os.wait()
else:
    while time.process_time() < 0.3: pass
    print(flush=True)
    sys.stdin.readline()
"""


@contextmanager
def burning(where: str) -> Iterator[int]:
    """A process that has burnt 0.3 s of CPU, itself or in a child, and waits."""
    command = [sys.executable, "-S", "-c", BURN, where]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize("where", ["itself", "child"])
def test_cpu_is_what_a_process_and_its_children_burnt(where: str) -> None:
    with burning(where) as pid:
        usage = usage_of(pid)

    assert usage.cpu_s == pytest.approx(0.3, abs=0.06)
    assert usage.cpu_s * 100 != round(usage.cpu_s * 100)  # finer than the ticks of /proc/PID/stat
    assert 3e6 < usage.memory_bytes < 100e6


def test_memory_that_a_child_shares_counts_once() -> None:
    script = """
import os, sys
mine = b"x" * 100_000_000
if os.fork():
    os.wait()
else:
    print(flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()

        assert 100e6 < usage_of(process.pid).memory_bytes < 140e6
        process.stdin.close()


def test_what_a_child_burnt_stays_when_it_has_ended() -> None:
    script = BURN.replace("os.wait()", "os.wait(); print(flush=True); sys.stdin.readline()").replace(
        "    print(flush=True)\n    sys.stdin.readline()\n", "    pass\n"
    )
    command = [sys.executable, "-S", "-c", script, "child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()

        assert usage_of(process.pid).cpu_s == pytest.approx(0.3, abs=0.06)
        process.stdin.close()


def test_a_process_that_is_gone_costs_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()

    assert usage_of(gone.pid) == Usage()


def test_a_rise_is_found_and_noise_is_not_taken_for_one() -> None:
    random, hours = Random(1), [minute / 60 for minute in range(60)]
    noise = [random.gauss(0.0, 0.5) for _ in hours]

    rising = trend_of(hours, [10.0 + 2.0 * at + each for at, each in zip(hours, noise, strict=True)])
    level = trend_of(hours, [10.0 + each for each in noise])

    assert rising.low < 2.0 < rising.high
    assert not rising.is_flat
    assert level.is_flat


def test_the_interval_of_a_trend_holds_the_truth_about_as_often_as_it_says() -> None:
    random, hours = Random(2), [minute / 60 for minute in range(30)]
    held = 0
    for _ in range(400):
        trend = trend_of(hours, [5.0 + at + random.gauss(0.0, 1.0) for at in hours])
        held += trend.low <= 1.0 <= trend.high

    assert 0.92 <= held / 400 <= 0.995


@pytest.mark.parametrize("capacity", [40.0, 290.0, 300.0, 1234.0, 9000.0])
def test_saturation_is_found_from_any_start(capacity: float) -> None:
    found = saturation(lambda rate: rate <= capacity, first=300.0)

    assert capacity * (1.0 - EXACTNESS) <= found <= capacity


def test_a_service_that_answers_nothing_has_no_saturation() -> None:
    assert saturation(lambda rate: False, first=300.0) == 0.0


def measured_at(latency_s: float, *, count: int = 1_000, seconds: float = 1.0) -> Measured:
    measured = Measured(seconds=seconds)
    for _ in range(count):
        measured.latencies["fresh"].add(latency_s)
    return measured


def test_parts_of_a_run_count_as_one() -> None:
    whole, part = exponential(1_000, 0.002), measured_at(0.01, count=30)

    part.merge(measured_at(0.03, count=10))
    whole.merge(exponential(1_000, 0.002))

    assert (part.count, part.seconds, part.latencies["fresh"].max_s) == (40, 2.0, 0.03)
    assert whole.percentile(0.5) == exponential(1_000, 0.002).percentile(0.5)
    assert (Usage(1.0, 5) + Usage(2.0, 7)) == Usage(3.0, 7)


def test_latencies_are_compared_with_the_floor_of_the_same_slice() -> None:
    def floor(latency_s: float) -> Measured:
        measured = measured_at(latency_s)
        measured.latencies["noop"] = measured.latencies.pop("fresh")
        return measured

    # The second slice met a machine that was three times as slow.
    made = latency_claims([(measured_at(0.004), floor(0.002)), (measured_at(0.012), floor(0.006))])

    assert [claim.text for claim in made] == ["p99 of decisions, × that of noop", "p99 of fresh, × that of noop"]
    assert all(1.9 < claim.found.low <= claim.found.high < 2.1 and claim.holds for claim in made)
    assert latency_claims([(measured_at(0.004, count=100), floor(0.002))]) == []


RAW = """\
thread (1): MainThread;main (api/cli/main.py:1);run (loop.py:7);decide (decisioning/decide.py:9);add (numpy/x.py:1) 60
thread (1): MainThread;main (api/cli/main.py:1);run (loop.py:7);write (uvicorn/server.py:2) 39
thread (1): MainThread;main (api/cli/main.py:1);run (loop.py:7);<genexpr> (rules/index.py:3) 1
thread (2): worker_0;wait (threading.py:1) 500
"""


def test_sampled_stacks_are_told_by_their_innermost_file_of_ours_and_drawn_by_share() -> None:
    stacks = stacks_of(RAW)

    assert places_of(stacks) == {"decisioning/decide.py": 0.6, ELSEWHERE: 0.39, "rules/index.py": 0.01}
    drawn = ElementTree.fromstring(flame_graph("a & b", stacks)).findall("{http://www.w3.org/2000/svg}g")
    titles = [group.findtext("{http://www.w3.org/2000/svg}title") for group in drawn]
    assert titles == [
        "decide (decisioning/decide.py:9): 60.0%",
        "add (numpy/x.py:1): 60.0%",
        "write (uvicorn/server.py:2): 39.0%",
        "<genexpr> (rules/index.py:3): 1.0%",
    ]


def test_keeping_up_takes_speed_throughput_and_no_errors() -> None:
    failing = measured_at(0.01)
    failing.errors["status_503"] += 1

    assert keeps_up(measured_at(0.01), 1_000)
    assert not keeps_up(measured_at(0.2), 1_000)
    assert not keeps_up(measured_at(0.01, seconds=1.2), 1_000)
    assert not keeps_up(failing, 1_000)


def test_a_soak_tells_what_rises() -> None:
    measured = Measured()
    for window in range(12):
        for _ in range(2_000):
            measured.windows[window]["leased"].add(0.004)
    samples = [{"memory server": 100_000_000 + 1_000_000 * window} for window in range(12)]

    drift = drift_of(measured, samples, window_s=60.0)

    assert drift.trends["memory server MB"].slope == pytest.approx(60.0)
    assert [name for name, trend in drift.trends.items() if not trend.is_flat] == ["memory server MB"]
    assert "RISES" in drift.table()
    assert [claim["claim"] for claim in drift.claims(0) if not claim["holds"]] == ["memory server MB, slope per hour"]
    assert not drift.claims(1)[0]["holds"]


@pytest.mark.parametrize("is_log", [False, True])
def test_a_chart_is_an_image_with_a_line_for_each_name(is_log: bool) -> None:
    lines = {"one & two": [(1.0, 0.5), (10.0, 80.0)], "three": [(2.0, 3.0), (5.0, 4.0)], "empty": []}

    svg = chart("Latency", "x", "ms", lines, log_x=is_log, log_y=is_log)

    drawn = ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(drawn) == 2
    for point in drawn[0].attrib["points"].split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 720 and 0 <= y <= 400
