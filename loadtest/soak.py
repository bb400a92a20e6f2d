"""Soak: hours at one rate, looked at window by window. Does anything rise?

Records leave the store when they take half a gigabyte, at a thousand requests a second after four minutes. From then on
what comes and what goes are in balance.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtest.accounting import usages
from loadtest.chart import Points, chart
from loadtest.drive import Driver, Measured
from loadtest.machine import machine
from loadtest.measuring import found_saturation, started
from loadtest.memory import stored_bytes
from loadtest.report import Phase, head, in_columns, table_of, write
from loadtest.service import Service, bank_of, prepare, serving
from loadtest.traffic import SOME_PLACEMENTS
from loadtest.trend import Trend, trend_of

SOAK_SHARE = 0.6  # of the saturation rate
WARM_SHARE = 0.2  # of the windows, left out of trends: caches fill and memory is taken in the beginning
SECONDS_PER_HOUR = 3_600.0
FLAT = ("p99", "memory server", "stored records")


def soak(options: argparse.Namespace) -> None:
    """Measure and report."""
    bank = bank_of(options)
    prepared = prepare(bank, options.cache)
    before = machine()
    with serving(prepared, workers=options.workers) as service:
        traffic = started(service, bank, workers=options.workers, placement_shares=SOME_PLACEMENTS)
        rate = options.rate or SOAK_SHARE * found_saturation(service.address, traffic)
        samples, spent = Samples(service), usages(service.roles)
        driver = Driver(service.address, traffic, window_s=options.window_seconds, on_window=samples.take)
        measured = driver.at_rate(rate, 60.0 * options.minutes)
        used = {role: usage.since(spent[role]) for role, usage in usages(service.roles).items()}
    long_run = Phase("soak", rate, measured, used)
    drift = drift_of(measured, samples.taken, window_s=options.window_seconds)
    report = {
        **head("soak", before),
        "bank": str(bank),
        "workers": options.workers,
        "phases": [long_run.as_json()],
        "drift_per_hour": drift.as_json(),
        "claims": drift.claims(measured.errors.total()),
    }
    errors = f"{measured.count:,} answers, {measured.errors.total():,} errors"
    tables = [str(bank), table_of([long_run]), drift.table(), errors]
    write(options.out, "soak", report, "\n\n".join(tables), {"soak": drift.chart()})


@dataclass(slots=True)
class Samples:
    """Bytes of each process, and of what lies in the store, at the end of each window."""

    service: Service
    taken: list[dict[str, int]] = field(default_factory=list)

    def take(self, window: int) -> None:
        """Look now."""
        processes = {f"memory {role}": usage.memory_bytes for role, usage in usages(self.service.roles).items()}
        stored = stored_bytes(self.service.data)
        customers = stored["all"] - stored["records"]
        self.taken.append({**processes, "stored records": stored["records"], "stored beside records": customers})


@dataclass(frozen=True, slots=True)
class Drift:
    """What moved, per hour."""

    trends: Mapping[str, Trend]
    lines: Mapping[str, Points]  # x in minutes

    def as_json(self) -> dict[str, Any]:
        """Slopes per hour with their 95 % intervals."""
        return {name: asdict(trend) for name, trend in self.trends.items()}

    def claims(self, errors: int) -> list[dict[str, Any]]:
        """No error, and nothing rises that should not; customers' histories may, up to their bounds."""
        none = {"claim": "errors", "aim": "= 0", "found": dict.fromkeys(("median", "low", "high"), errors)}
        slopes = [
            {
                "claim": f"{name}, slope per hour",
                "aim": "0 in range",
                "found": {"median": trend.slope, "low": trend.low, "high": trend.high},
                "holds": trend.is_flat,
            }
            for name, trend in self.trends.items()
            if name.startswith(FLAT)
        ]
        return [{**none, "holds": not errors}, *slopes]

    def table(self) -> str:
        """For people."""
        rows = [["measure", "mean", "slope per hour", "95 % interval", "verdict"]]
        for name, trend in self.trends.items():
            interval = f"{trend.low:+.3f} to {trend.high:+.3f}"
            verdict = "flat" if trend.is_flat else "RISES"
            rows.append([name, f"{trend.mean:.3f}", f"{trend.slope:+.3f}", interval, verdict])
        return in_columns(rows)

    def chart(self) -> str:
        """Everything over time, logarithmic so that milliseconds and megabytes fit."""
        return chart("Soak", "minutes", "ms, MB", self.lines, log_x=False, log_y=True)


def drift_of(measured: Measured, samples: Sequence[Mapping[str, int]], *, window_s: float) -> Drift:
    """Trends of p50, p99 and memory. The windows are those that were measured; needs at least five."""
    windows = sorted(measured.windows)[: len(samples)]
    series: dict[str, list[tuple[float, float]]] = {}
    for window in windows:
        at_hours = (window + 1) * window_s / SECONDS_PER_HOUR
        for kind, histogram in measured.windows[window].items():
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                if (seconds := histogram.percentile(share)) is not None:
                    series.setdefault(f"{name} {kind} ms", []).append((at_hours, seconds * 1e3))
        for name, size in samples[window].items():
            series.setdefault(f"{name} MB", []).append((at_hours, size / 1e6))
    trends = {}
    for name, points in sorted(series.items()):
        settled = points[round(WARM_SHARE * len(points)) :]
        if len(settled) >= 4:
            trends[name] = trend_of([x for x, _ in settled], [y for _, y in settled])
    return Drift(trends, {name: [(60.0 * x, y) for x, y in points] for name, points in sorted(series.items())})
