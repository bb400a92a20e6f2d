"""The model card: what a model is good for, on a page that people read.

`sections_of` says what is on the card, once, in plain text, tables and curves; `as_markdown` here and `as_html` in
card_page.py write it down. Pure functions of a report; every name in it came from a table or a strategy and is escaped.
Cards lie beside an artifact for readers: nothing that decides reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.drift import SHIFTED, STABLE, Change, Drift
from models.evaluate import Interval
from models.features import Feature
from models.report import Bin, Figures, Gain, TrainingReport

SHORT = 12  # digits of a version that people read
MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&])")


@dataclass(frozen=True, slots=True)
class Card:
    """Everything a card is written from."""

    version: str
    made_on: str  # a date, as people read it
    features: Sequence[Feature]
    told: Sequence[str]  # about the rows it learnt from, in sentences
    report: TrainingReport


class Table(NamedTuple):
    """A table; all columns but the first hold numbers or short words."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Curve(NamedTuple):
    """Points of a chart, both axes from 0 to 1, with what a perfect or an idle model would show as a straight line."""

    name: str
    x_name: str
    y_name: str
    straight: str  # what the diagonal is
    points: tuple[tuple[float, float], ...]
    intervals: tuple[Interval, ...]  # of the second number of each point; empty when there are none


class Section(NamedTuple):
    """One heading of the card and what stands below it."""

    title: str
    blocks: tuple[str | Table | Curve, ...]


def title_of(card: Card) -> str:
    return f"Model {card.version[:SHORT]}"


def sections_of(card: Card) -> tuple[Section, ...]:
    """The whole card below its title."""
    report = card.report
    sections = [
        Section("In short", tuple(_in_short(card))),
        Section("Figures", (_FIGURES_NOTE, _figures(report))),
        Section("Are its probabilities true?", tuple(_reliability(report.reliability))),
        Section("What is the top of the list worth?", tuple(_gains(report.gains))),
        Section("Action by action", (_ACTIONS_NOTE, _actions(report))),
        Section("What moved each score", (_MOVED_NOTE, _moved(report))),
        Section("Against the previous model", tuple(_drift(report.drift))),
        Section("How it was made", tuple(_made(card))),
    ]
    return tuple(section for section in sections if section.blocks)


def as_markdown(card: Card) -> str:
    """The card as Markdown; curves are tables."""
    lines = [f"# {_escaped(title_of(card))}", ""]
    for section in sections_of(card):
        lines += [f"## {_escaped(section.title)}", ""]
        for block in section.blocks:
            lines += [*_markdown(block), ""]
    return "\n".join(lines)


_FIGURES_NOTE = (
    "Every row was scored by a fit that had not seen it, nor another row of the same customer. In brackets: 95 % "
    "intervals over customers, 99 % for the slope. AUC is within actions. A perfect model has a calibration error too, "
    "by chance: the floor."
)
_ACTIONS_NOTE = "The same figures on the rows of each action alone."
_MOVED_NOTE = (
    "How far an attribute moves the score of an action from customer to customer, alone and through trees, as a "
    "standard deviation in log odds: the attribute was exchanged between customers, all else left as it was. "
    "What moves a score need not move the customer."
)


def _in_short(card: Card) -> Iterator[str]:
    report, overall = card.report, card.report.overall
    yield f"Made on {card.made_on}. Version {card.version}."
    yield from card.told
    if overall.auc is not None:
        yield (
            f"Given one who responds to an action and one who does not, it puts the right one first in "
            f"{_percent(overall.auc)} of cases ({_interval(overall.auc_interval, _percent)})."
        )
    excess = overall.calibration_error - overall.calibration_floor
    yield (
        f"Its probabilities are off by {_share(overall.calibration_error)} on average, where chance alone would show "
        f"{_share(overall.calibration_floor)}: {'nothing' if excess <= 0 else _share(excess)} beyond chance."
    )
    if report.in_time is not None and report.in_time.auc is not None:
        yield (
            f"Foreseeing the last tenth of time from what came before, its AUC is {report.in_time.auc:.3f} and its "
            f"calibration error {report.in_time.calibration_error:.4f}."
        )


def _figures(report: TrainingReport) -> Table:
    columns = [("all actions", report.overall), ("base rates only", report.base_rates)]
    columns += [("last tenth of time", report.in_time)] if report.in_time else []
    rows = [
        ("rows", *(f"{figures.rows:,}" for _, figures in columns)),
        ("positives", *(f"{figures.positives:,}" for _, figures in columns)),
        ("AUC", *(_with(figures.auc, figures.auc_interval, 3) for _, figures in columns)),
        (
            "average precision",
            *(_with(figures.average_precision, figures.average_precision_interval, 3) for _, figures in columns),
        ),
        ("log loss", *(_with(figures.log_loss, figures.log_loss_interval, 4) for _, figures in columns)),
        ("Brier score", *(_with(figures.brier, figures.brier_interval, 4) for _, figures in columns)),
        (
            "calibration error",
            *(_with(figures.calibration_error, figures.calibration_error_interval, 4) for _, figures in columns),
        ),
        ("its floor", *(f"{figures.calibration_floor:.4f}" for _, figures in columns)),
        (
            "calibration slope",
            *(_with(figures.calibration_slope, figures.calibration_slope_interval, 2) for _, figures in columns),
        ),
    ]
    return Table(("", *(name for name, _ in columns)), tuple(rows))


def _reliability(bins: Sequence[Bin]) -> Iterator[str | Table | Curve]:
    yield "Customers in groups of equal size by their propensity: what was said, and how many responded."
    yield Curve(
        name="Reliability",
        x_name="propensity",
        y_name="responded",
        straight="probabilities that are true",
        points=tuple((one.chance, one.rate) for one in bins),
        intervals=tuple(one.interval for one in bins),
    )


def _gains(gains: Sequence[Gain]) -> Iterator[str | Table | Curve]:
    if not gains:
        return
    tenth = next(one.captured for one in gains if one.share == 0.1)
    yield f"The best-scored tenth of the rows holds {_percent(tenth)} of all positive responses."
    yield Curve(
        name="Gains",
        x_name="share of customers, best first",
        y_name="share of responses",
        straight="customers at random",
        points=((0.0, 0.0), *((one.share, one.captured) for one in gains)),
        intervals=(),
    )


def _actions(report: TrainingReport) -> Table:
    head = ("action", "rows", "positives", "AUC", "calibration error", "floor", "slope")
    return Table(head, tuple((one.action, *_action_cells(one.figures)) for one in report.actions))


def _action_cells(figures: Figures) -> tuple[str, ...]:
    return (
        f"{figures.rows:,}",
        f"{figures.positives:,}",
        _with(figures.auc, figures.auc_interval, 3),
        f"{figures.calibration_error:.4f}",
        f"{figures.calibration_floor:.4f}",
        _with(figures.calibration_slope, figures.calibration_slope_interval, 2),
    )


def _moved(report: TrainingReport) -> Table:
    rows = []
    for one in report.actions:
        parts = [f"{each.attribute} {each.effect:.2f} ({each.says})" for each in one.moved_by if each.effect >= 0.005]
        rows.append((one.action, "; ".join(parts) or "nothing"))
    return Table(("action", "moved most by"), tuple(rows))


def _drift(drift: Drift | None) -> Iterator[str | Table | Curve]:
    if drift is None:
        return
    yield (
        f"Compared with {drift.previous[:SHORT]} on this table. Rows that were in its training too flatter it. "
        f"A stability index below {STABLE} is quiet, above {SHIFTED} customers are no longer the same."
    )
    now, before = drift.calibration_error
    rows = [_change("AUC", drift.auc), _change("log loss", drift.log_loss)]
    rows.append(("calibration error", f"{now:.4f}", f"{before:.4f}", ""))
    yield Table(("", "this model", "previous", "difference"), tuple(rows))
    indexes = [(path, index) for path, index in drift.features.items() if index is not None]
    indexes.sort(key=lambda pair: -pair[1])
    index_rows = [] if drift.scores is None else [("the previous model's scores", *_stability(drift.scores))]
    index_rows += [(path, *_stability(index)) for path, index in indexes]
    index_rows += [(path, "unknown", "") for path, index in drift.features.items() if index is None]
    yield Table(("of", "stability index", ""), tuple(index_rows))


def _change(name: str, change: Change | None) -> tuple[str, ...]:
    if change is None:
        return name, "-", "-", ""
    low, high = change.difference
    difference = f"{change.now - change.before:+.4f} ({low:+.4f} to {high:+.4f})"
    return name, f"{change.now:.4f}", f"{change.before:.4f}", difference


def _stability(index: float) -> tuple[str, str]:
    return f"{index:.3f}", "quiet" if index < STABLE else "moved" if index < SHIFTED else "shifted"


def _made(card: Card) -> Iterator[str | Table]:
    choices = card.report.choices.items()
    rows = [(name, f"{each:.4g}" if isinstance(each, float) else str(each)) for name, each in choices]
    yield Table(("setting", "chosen"), tuple(rows))
    yield "Attributes it reads, and how well each ranks the responses by itself; 0.5 is not at all."
    alone = card.report.auc_alone
    read = [(each.path, each.kind, f"{alone[each.path]:.3f}" if each.path in alone else "-") for each in card.features]
    yield Table(("attribute", "read as", "AUC alone"), tuple(sorted(read)))


def _with(figure: float | None, interval: Interval | None, decimals: int) -> str:
    if figure is None:
        return "-"
    return f"{figure:.{decimals}f}" + (
        f" ({_interval(interval, lambda end: f'{end:.{decimals}f}')})" if interval else ""
    )


def _interval(interval: Interval | None, written: Callable[[float], str]) -> str:
    return "-" if interval is None else f"{written(interval[0])}–{written(interval[1])}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _share(share: float) -> str:
    return f"{100 * share:.2f} percentage points"


def _markdown(block: str | Table | Curve) -> list[str]:
    if isinstance(block, str):
        return [_escaped(block)]
    if isinstance(block, Curve):
        return _markdown(tabled(block))
    lines = [block.head, ("---", *("---:" for _ in block.head[1:])), *block.rows]
    return [f"| {' | '.join(map(_escaped, cells) if at != 1 else cells)} |" for at, cells in enumerate(lines)]


def tabled(curve: Curve) -> Table:
    """The points of a curve as numbers."""
    rows = []
    for at, (x, y) in enumerate(curve.points):
        interval = f" ({_interval(curve.intervals[at], _percent)})" if curve.intervals else ""
        rows.append((_percent(x), _percent(y) + interval))
    return Table((curve.x_name, curve.y_name), tuple(rows))


def _escaped(text: str) -> str:
    return MARKUP.sub(r"\\\1", " ".join(text.split()))
