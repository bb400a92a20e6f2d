"""Report: one JSON, one table, one chart for each measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.accounting import Usage
from loadtest.chart import Points, chart
from loadtest.drive import Latencies, Measured
from loadtest.histogram import ERROR_MAX, Histogram

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
DRIVER_SHARE_MAX = 0.8  # of a core; above, the driver may be what is measured
LATE_MAX_S = 0.005  # p99 of sending behind due; above, something else kept the driver from its core
CHART_SHARES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)


@dataclass(frozen=True, slots=True)
class Phase:
    """A run with what it cost."""

    name: str
    per_second: float | None  # asked for; None: flat out
    measured: Measured
    usages: Mapping[str, Usage]  # by role, since the phase began

    def then(self, later: Phase) -> Phase:
        """This one with a later one of the same kind as one; changes what this one measured."""
        self.measured.merge(later.measured)
        return Phase(self.name, self.per_second, self.measured, {
            role: usage + later.usages[role] for role, usage in self.usages.items()
        })  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """All figures; times in ms and µs as their names say."""
        measured = self.measured
        return {
            "name": self.name,
            "per_second_asked": self.per_second,
            "per_second_answered": round(measured.per_second, 1),
            "seconds": round(measured.seconds, 2),
            "answers": measured.count,
            "errors": dict(measured.errors),
            "latency_ms": {kind: figures_of(each) for kind, each in sorted(measured.latencies.items())},
            "latency_error_max": round(ERROR_MAX, 4),
            "cpu_us_per_answer": {role: round(self.cpu_us(role), 1) for role in self.usages},
            "memory_mb": {role: round(usage.memory_bytes / 1e6, 1) for role, usage in self.usages.items()},
            "driver": {"core_share": round(measured.driver_share, 3), "sent_late_ms": figures_of(measured.lateness)},
        }

    def cpu_us(self, role: str) -> float:
        """CPU microseconds per answer."""
        return self.usages[role].cpu_s / max(self.measured.count, 1) * 1e6


def head(what: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """What every report begins with; `before` is the machine before anything was started."""
    return {"what": what, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": before}


def figures_of(histogram: Histogram) -> dict[str, float | int | None]:
    """Count, percentiles and maximum in milliseconds; None where there are too few to say."""
    found = {name: histogram.percentile(share) for name, share in PERCENTILES.items()}
    figures = {name: None if seconds is None else round(seconds * 1e3, 3) for name, seconds in found.items()}
    return {"count": histogram.count, **figures, "max": round(histogram.max_s * 1e3, 3)}


def table_of(phases: Sequence[Phase]) -> str:
    """For people: a line per phase and kind of request."""
    heads = ["phase", "asked", "what", "count", "/s", *PERCENTILES, "max ms", "server µs", "store µs"]
    rows = [heads]
    for phase in phases:
        for kind, histogram in sorted(phase.measured.latencies.items()):
            figures = figures_of(histogram)
            rows.append(
                [
                    phase.name,
                    "flat out" if phase.per_second is None else f"{phase.per_second:.0f}",
                    kind,
                    str(histogram.count),
                    f"{histogram.count / phase.measured.seconds:.0f}",
                    *("–" if figures[name] is None else f"{figures[name]:.2f}" for name in PERCENTILES),
                    f"{figures['max']:.1f}",
                    *(f"{phase.cpu_us(role):.0f}" if role in phase.usages else "–" for role in ("server", "store")),
                ]
            )
    return in_columns(rows) + "".join(f"\n{each}" for phase in phases for each in warnings_of(phase))


def warnings_of(phase: Phase) -> list[str]:
    """What a reader has to know before believing the figures."""
    told = [f"{phase.name}: {count} × {error}" for error, count in phase.measured.errors.most_common()]
    if phase.per_second is not None and phase.measured.driver_share > DRIVER_SHARE_MAX:
        told.append(f"{phase.name}: the driver took {phase.measured.driver_share:.0%} of a core and may have been late")
    late_s = phase.measured.lateness.percentile(0.99)
    if phase.per_second is not None and late_s is not None and late_s > LATE_MAX_S:
        told.append(f"{phase.name}: one request in 100 left {late_s * 1e3:.1f} ms late, which is in its latency")
    return told


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def percentile_chart(title: str, latencies: Mapping[str, Latencies]) -> str:
    """Latency by the share of requests that are slower, one line for each phase and kind."""
    lines: dict[str, Points] = {
        f"{phase} {kind}": [
            (1.0 / (1.0 - share), seconds * 1e3)
            for share in CHART_SHARES
            if (seconds := histogram.percentile(share)) is not None
        ]
        for phase, kinds in latencies.items()
        for kind, histogram in sorted(kinds.items())
    }
    return chart(title, "one request in so many is slower", "ms", lines, log_x=True, log_y=True)


def write(folder: Path, name: str, report: Mapping[str, Any], table: str, charts: Mapping[str, str]) -> None:
    """JSON, table and charts, each chart by its name; and the table on the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / f"{name}.txt").write_text(table + "\n")
    for chart_name, svg in charts.items():
        (folder / f"{chart_name}.svg").write_text(svg)
    print(f"{table}\n\n{folder}: {', '.join([f'{name}.json', f'{name}.txt', *(f'{each}.svg' for each in charts)])}")
