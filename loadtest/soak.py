"""Soak: hours at one rate, looked at window by window. Does anything rise?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtest.accounting import Usage, usages
from loadtest.chart import Points, chart
from loadtest.drive import Measured
from loadtest.report import in_columns
from loadtest.trend import Trend, trend_of

WARM_SHARE = 0.1  # of the windows, left out of trends: caches fill and memory is taken in the beginning
SECONDS_PER_HOUR = 3_600.0


@dataclass(slots=True)
class Samples:
    """Memory and CPU of each role at the end of each window."""

    roles: Mapping[str, int]
    taken: list[dict[str, Usage]] = field(default_factory=list)

    def take(self, window: int) -> None:
        """Look now."""
        self.taken.append(usages(self.roles))


@dataclass(frozen=True, slots=True)
class Drift:
    """What moved, per hour."""

    trends: Mapping[str, Trend]
    lines: Mapping[str, Points]  # x in minutes

    def as_json(self) -> dict[str, Any]:
        """Slopes per hour with their 95 % intervals."""
        return {name: asdict(trend) for name, trend in self.trends.items()}

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


def drift_of(measured: Measured, samples: Sequence[Mapping[str, Usage]], *, window_s: float) -> Drift:
    """Trends of p50, p99 and memory. The windows are those that were measured; needs at least five."""
    windows = sorted(measured.windows)[: len(samples)]
    series: dict[str, list[tuple[float, float]]] = {}
    for window in windows:
        at_hours = (window + 1) * window_s / SECONDS_PER_HOUR
        for kind, histogram in measured.windows[window].items():
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                if (seconds := histogram.percentile(share)) is not None:
                    series.setdefault(f"{name} {kind} ms", []).append((at_hours, seconds * 1e3))
        for role, usage in samples[window].items():
            series.setdefault(f"memory {role} MB", []).append((at_hours, usage.memory_bytes / 1e6))
    trends = {}
    for name, points in sorted(series.items()):
        settled = points[round(WARM_SHARE * len(points)) :]
        if len(settled) >= 4:
            trends[name] = trend_of([x for x, _ in settled], [y for _, y in settled])
    return Drift(trends, {name: [(60.0 * x, y) for x, y in points] for name, points in sorted(series.items())})
