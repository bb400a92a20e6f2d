"""Do the propensity models hold their own on public data? Prints a table in Markdown, exits with 1 when they do not.

    python examples/benchmarks/measure.py ../shared/data

The directory holds a folder for each data set with its table as CSV, plain or gzipped; a folder that is not there is
left out and named. Every table is read through the mapping beside this file and trained as `nextbest train` does it.
Random splits are five folds: every row is scored once, by a model that never met its person. Where people have several
rows, a few hundred of them make up a fold, and figures are means over three ways to deal them out. In time, the first
part of the rows is learnt from and the rest is scored. The peers of peers.py are fitted on the same rows, and the one
that turned out best is the one compared with.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.history.mapping import read_mapping
from decisioning.history.training import TrainingTable, read_training
from examples.benchmarks.peers import chances_of, peers_of
from models import Feature, evaluate
from models.boost import one_thread
from models.features import taken
from models.intervals import auc_difference_interval
from models.report import Figures, figures_of
from models.train import train

HERE = Path(__file__).parent
MAPPINGS = {
    "bank_marketing": HERE.parent / "bank_calls/mapping.yaml",
    "online_shoppers": HERE / "online_shoppers.yaml",
    "invehicle_coupon": HERE / "invehicle_coupon.yaml",
    "telco_churn": HERE / "telco_churn.yaml",
    "ifood_campaign": HERE / "ifood_campaign.yaml",
}
BORDERS = {"bank_marketing": (0.7, 0.8, 0.9)}  # what is ordered by time is also split there
PROMISED_UP_TO = 0.8  # on the last tenth acceptance leaps from 7 % to 46 %, and which penalty ranks best is luck
FOLD_COUNT = 5
DEALS = 3  # of people with several rows: between two deals the calibration error moves by 0.005
AUC_BEHIND_MAX = 0.005
EXCESS_MAX = 0.006  # of the calibration error over that of a perfect model

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Case:
    """A table and how it is split."""

    name: str
    validation: str  # as in a mapping
    table: TrainingTable
    deals: list[list[tuple[Rows, Rows]]]  # rows to learn from, rows to score; figures are means over the deals
    is_promised: bool  # else it is reported only


@dataclass(frozen=True, slots=True)
class Result:
    """What one case showed."""

    case: Case
    figures: Figures
    peer: str
    peer_auc: float
    behind: evaluate.Interval  # of our AUC less the peer's
    form: str

    @property
    def failures(self) -> list[str]:
        """Which promises were broken; calibration in time is reported, no promise covers a world that changes."""
        assert self.figures.auc is not None
        assert self.figures.calibration_slope_interval is not None
        low, high = self.figures.calibration_slope_interval
        found = []
        if self.case.is_promised and self.figures.auc < self.peer_auc - AUC_BEHIND_MAX:
            found.append(f"AUC {self.figures.auc:.4f}, {self.peer} has {self.peer_auc:.4f}")
        if self.case.validation == "random" and excess(self.figures) > EXCESS_MAX:
            found.append(f"calibration error {excess(self.figures):.4f} above a perfect model's")
        if self.case.validation == "random" and not low <= 1.0 <= high:
            found.append(f"calibration slope {low:.2f} to {high:.2f}")
        return found


def main() -> None:
    """Measure every case and print its row."""
    parser = argparse.ArgumentParser(description="Compare propensity models with scikit-learn on public data.")
    parser.add_argument("data", type=Path, help="directory with a folder for each data set")
    parser.add_argument("--only", choices=MAPPINGS, nargs="+", default=list(MAPPINGS))
    options = parser.parse_args()
    print(f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|", flush=True)
    failed = False
    for name in options.only:
        for case in cases(name, options.data):
            started = time.monotonic()
            result = measured(case)
            print(row(result), flush=True)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
            for failure in result.failures:
                print(f"{case.name}: {failure}", file=sys.stderr)
                failed = True
    sys.exit(failed)


def cases(name: str, data: Path) -> Iterator[Case]:
    """The cases of a data set; none where its folder is not there."""
    files = sorted((data / name).glob("*.csv*"))
    if not files:
        print(f"{name}: no table in {data / name}, left out", file=sys.stderr)
        return
    table = read_training(files, read_mapping(MAPPINGS[name]))
    deal_count = 1 if len(set(table.persons)) == len(table.persons) else DEALS
    yield Case(f"{name}, random", "random", table, [dealt(table, seed) for seed in range(deal_count)], is_promised=True)
    for border in BORDERS.get(name, ()):
        assert table.order is not None  # the mapping of a table in BORDERS names a time
        by_time = np.argsort(table.order, kind="stable")
        at = int(len(by_time) * border)
        split = (by_time[:at], by_time[at:])
        late = f"{name}, last {1 - border:.0%} of time"
        yield Case(late, "time", table, [[split]], is_promised=border <= PROMISED_UP_TO)


def dealt(table: TrainingTable, seed: int) -> list[tuple[Rows, Rows]]:
    """Five folds of whole people; of people with a single row, equal shares of positives."""
    people = np.unique(table.persons, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(people.max() + 1)
    if len(order) == len(people):
        order = order[np.argsort(table.labels[np.argsort(people)][order], kind="stable")]
    fold_of_person = np.empty(len(order), dtype=np.int64)
    fold_of_person[order] = np.arange(len(order)) % FOLD_COUNT
    fold_of_row, rows = fold_of_person[people], np.arange(len(people))
    return [(rows[fold_of_row != fold], rows[fold_of_row == fold]) for fold in range(FOLD_COUNT)]


def measured(case: Case) -> Result:
    """Train and score ours and the peers on every split of the case."""
    trained = [[ours(case, *split) for split in deal] for deal in case.deals]
    scored = [
        Scored(case.table, deal, [chances for chances, _ in ones])
        for deal, ones in zip(case.deals, trained, strict=True)
    ]
    others = {
        name: [fitted(case, peer, values, deal) for deal in case.deals] for name, peer, values in peers_of(case.table)
    }
    aucs = {name: float(np.mean([each.auc for each in deals])) for name, deals in others.items()}
    best = max(aucs, key=aucs.__getitem__)
    return Result(
        case=case,
        figures=mean_of([each.figures() for each in scored]),
        peer=best,
        peer_auc=aucs[best],
        behind=_mean_interval([mine.less(other) for mine, other in zip(scored, others[best], strict=True)]),
        form=", ".join(sorted({form for ones in trained for _, form in ones})),
    )


def fitted(case: Case, peer: Any, values: Floats, deal: list[tuple[Rows, Rows]]) -> Scored:
    """A peer's answers to the held-out rows of a deal."""
    with one_thread():
        chances = [chances_of(peer, values, case.table.labels, *split) for split in deal]
    return Scored(case.table, deal, chances)


class Scored:
    """The held-out rows of all splits of a deal, and what a model said of them."""

    def __init__(self, table: TrainingTable, deal: list[tuple[Rows, Rows]], chances: list[Floats]) -> None:
        rows = np.concatenate([held_out for _, held_out in deal])
        self.chances = np.concatenate(chances)
        self.labels = table.labels[rows].astype(np.float64)
        self.actions, self.people = np.asarray(table.actions)[rows], np.asarray(table.persons)[rows]

    @property
    def auc(self) -> float:
        """Within actions."""
        return evaluate.auc_within(self.labels, self.chances, self.actions)

    def figures(self) -> Figures:
        """All figures."""
        return figures_of(self.labels, self.chances, self.actions, clusters=self.people)

    def less(self, other: Scored) -> evaluate.Interval:
        """The interval of the difference in AUC, to a model asked for the same rows."""
        return auc_difference_interval(self.labels, self.chances, other.chances, self.actions, self.people)


def mean_of(figures: list[Figures]) -> Figures:
    """Every figure, and every end of an interval, as the mean over deals."""
    means: dict[str, Any] = {}
    for name, first in asdict(figures[0]).items():
        values = [getattr(each, name) for each in figures]
        if isinstance(first, tuple):
            means[name] = _mean_interval(values)
        else:
            means[name] = first if isinstance(first, int) else float(np.mean(values))
    return Figures(**means)


def _mean_interval(intervals: list[evaluate.Interval]) -> evaluate.Interval:
    return evaluate.Interval(*np.mean(intervals, axis=0).tolist())


def ours(case: Case, seen: Rows, held_out: Rows) -> tuple[Floats, str]:
    """Propensities of the held-out rows, and the form that training settled on."""
    table = case.table
    in_time = case.validation == "time" and table.order is not None
    found = train(
        columns_of(table, seen),
        actions=[table.actions[row] for row in seen],
        labels=table.labels[seen],
        features=[Feature(path, kind) for path, kind in table.kinds.items()],
        order=table.order[seen] if in_time and table.order is not None else None,
        clusters=np.asarray(table.persons)[seen],
        known_before=read_mapping(MAPPINGS[case.name.split(",")[0]]).known_before,
        validation=case.validation,
    )
    keys = [table.actions[row] for row in held_out]
    return found.model.propensities_of_table(columns_of(table, held_out), keys), str(found.report.choices["form"])


def columns_of(table: TrainingTable, rows: Rows) -> dict[str, Any]:
    """These rows of every column."""
    return {path: taken(column, rows) for path, column in table.columns.items()}


def excess(figures: Figures) -> float:
    """How far the calibration error lies above that of a perfect model on these rows."""
    return figures.calibration_error - figures.calibration_floor


_COLUMNS = (
    "data, split",
    "rows, positive",
    "AUC (95 %)",
    "best peer",
    "AUC less the peer's (95 %)",
    "calibration error − perfect model's",
    "slope (99 %)",
    "form",
)


def row(result: Result) -> str:
    """One row of the table."""
    figures = result.figures
    assert figures.auc is not None
    assert figures.auc_interval is not None
    assert figures.calibration_slope_interval is not None
    auc, slope = figures.auc_interval, figures.calibration_slope_interval
    cells = [
        result.case.name,
        f"{figures.rows:,}, {figures.positives / figures.rows:.1%}",
        f"{figures.auc:.4f} ({auc.low:.3f}–{auc.high:.3f})",
        f"{result.peer}: {result.peer_auc:.4f}",
        f"{figures.auc - result.peer_auc:+.4f} ({result.behind.low:+.4f} to {result.behind.high:+.4f})",
        f"{figures.calibration_error:.4f} − {figures.calibration_floor:.4f} = {excess(figures):+.4f}",
        f"{figures.calibration_slope:.3f} ({slope.low:.3f}–{slope.high:.3f})",
        result.form,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
