"""Training: from a table of past decisions and their labels to a calibrated propensity model and a report.

One hierarchical logistic regression: logit = x · (everything + issue + group + action), each part with a normal prior
around zero (design.py, regression.py). A score of boosted trees may be one more column of x (boost.py). Whether it is,
and how wide the priors are, is chosen on a sample by validation of the stated kind (validation.py); scores of a
cross-fit on the whole table then calibrate the model. Never imported by a serving process: scikit-learn alone costs it
a second and 100 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from models.boost import Grown, exported, grow
from models.calibrate import Sigmoid, calibrate
from models.design import DEVIATION_INTERCEPT_SD, INTERCEPT_SD, Layout, Prior
from models.errors import InvalidTable
from models.evaluate import log_losses
from models.features import Column, Feature, Floats, Indexes, learn, taken
from models.forest import Forest
from models.golden import golden_columns, golden_rows
from models.hierarchy import row_keys_of
from models.leak import auc_alone, refuse_leaks
from models.propensity import Posterior, PriorVariances, PropensityModel
from models.regression import Part, crossed, fit, has_converged, scaled, sigmoid, variances
from models.report import Figures, TrainingReport, figures_of, report_of
from models.validation import KINDS, Split, by_folds, by_time, folds_of, is_usable, last_of_time, sample_of

DEVIATION_SDS = (0.03, 0.1, 0.3)
BANDS_BESIDE_TREES = 0.1
DOUBT_ROWS_MAX = 5_000  # up to here trees are taken in doubt: on 1,200 rows that is worth 0.007 AUC; see _are_better
QUARTERS_ROWS_MAX = 50_000  # larger tables are cross-fitted in halves: two fits cost less, and calibrate as well
CLASS_CLUSTERS_MIN = 10  # customers with a positive, and with a negative, below which nothing can be validated
PARITY_ROWS = 2_000  # of the training table, on which the exported trees must agree with those that were grown
NOTHING_BARRED: Mapping[str, frozenset[str]] = MappingProxyType({})

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


class _Widths(NamedTuple):
    """Prior sds that are tried, the first as the start."""

    shared: tuple[float, ...]
    bands: tuple[float, ...]


# Lines reach beyond what was seen and bands do not, so for later rows lines are wide and bands narrow. A few stretches
# of time cannot tell widths apart: chosen among those for random rows, the bank's later calls lose 0.03 to 0.3 AUC.
WIDTHS = {"random": _Widths((0.3, 0.1), (0.3, 0.1, 0.03)), "time": _Widths((0.6,), (0.03,))}


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model ready to be saved, and what is known about it."""

    model: PropensityModel
    report: TrainingReport
    chances: Floats  # [rows] propensity of each row by a fit that had not seen it: what a comparison may use


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The checked training table."""

    columns: Mapping[str, Column]
    actions: NDArray[np.str_]
    labels: Floats
    clusters: Indexes  # 0..k-1
    order: NDArray[np.generic] | None
    barred: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """The table as all fits take it."""

    table: _Table
    layout: Layout
    design: sparse.csr_matrix  # without a score
    folds: Indexes
    priority: Indexes  # a random order of customers; see boost.grow
    tree_columns: Indexes

    def inputs(self, rows: Indexes) -> Floats:
        """float64[rows, tree columns]: what trees read."""
        inputs: Floats = self.design[rows][:, self.tree_columns].toarray()
        return inputs

    def grown(self, rows: Indexes) -> Grown:
        """Trees of these rows."""
        return grow(self.inputs(rows), self.table.labels[rows], self.folds[rows], self.priority[rows])

    def part(self, split: Split, *, boosted: bool) -> Part:
        """What one fit of a validation needs; its trees know as little of the held-out rows as its coefficients."""
        seen, held_out = self.design[split.seen], self.design[split.held_out]
        labels, actions = self.table.labels[split.seen], self.table.actions
        if not boosted:
            return Part(seen, labels, held_out)
        grown = self.grown(split.seen)
        return Part(
            self.layout.with_scores(seen, actions[split.seen], grown.unseen),
            labels,
            self.layout.with_scores(held_out, actions[split.held_out], grown.scores(self.inputs(split.held_out))),
        )


class _Choice(NamedTuple):
    """What validation settled on."""

    boosted: bool
    prior: Prior


class _Fitted(NamedTuple):
    """The regression on the whole table, and what its last column needs."""

    choice: _Choice
    scales: Floats
    regression: LogisticRegression
    calibration: Sigmoid
    design: sparse.csr_matrix  # scaled
    grown: Grown | None


def _silent(what: str, done: int, total: int) -> None:
    """Reports to nobody."""


def train(
    columns: Mapping[str, Column],
    *,
    actions: Sequence[str],
    labels: ArrayLike,
    features: Sequence[Feature],
    order: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    known_before: Collection[str] = (),
    validation: str = "random",
    barred: Mapping[str, frozenset[str]] = NOTHING_BARRED,
    progress: Progress = _silent,
) -> TrainedModel:
    """Fit, calibrate and check a model on n rows.

    columns       values by attribute path, each of length n; None or NaN is missing
    actions       issue/group/action of each row
    labels        1 for a positive response, 0 for none
    features      which columns may be used, and how each is read
    order         time of each row; with it the report says how well the last tenth is foreseen
    clusters      customer of each row: a customer's rows never stand on both sides of a random validation
    known_before  features that may rank the label on their own, because they really are known before the decision
    validation    on whom the model will be used: "random", people like these, or "time", those who come after them
    barred        by action the attributes that may not be used for it
    Raises InvalidTable, InvalidFeature or LeakSuspected.
    """
    table = _checked(columns, actions, labels, order, clusters, barred)
    encoder = learn(features, columns)
    folds, sample = folds_of(table.labels, table.clusters), sample_of(table.labels, table.clusters)
    thinned = {path: taken(column, sample) for path, column in columns.items()}
    alone = auc_alone(encoder.features, thinned, table.labels[sample], folds[sample] % 2)
    refuse_leaks(alone, table.labels[sample], known_before=known_before)

    progress("encoding", 0, 1)
    material = _material(table, Layout(encoder, actions), folds)
    choice = _choose(material, _trials(material, sample, validation), validation, progress)
    fitted, unseen = _fit_all(material, choice, progress)
    progress("checking in time", 0, 1)
    in_time = None if table.order is None else _in_time(material, table.order, fitted)
    progress("describing", 0, 1)
    model = _served(material, fitted)
    chances = sigmoid(fitted.calibration.apply(unseen))
    found = report_of(
        model,
        columns,
        actions=table.actions,
        labels=table.labels,
        chances=chances,
        clusters=table.clusters,
        choices=_choices(validation, model, fitted),
        auc_alone=alone,
        in_time=in_time,
        barred=table.barred,
    )
    return TrainedModel(model, found, chances)


def _choices(validation: str, model: PropensityModel, fitted: _Fitted) -> dict[str, str | float]:
    """What was settled on, in words for the report."""
    return {
        "chosen by validation": validation,
        "form": "linear" if model.forest is None else "linear with trees",
        "trees": 0 if model.forest is None else len(model.forest.feature),
        "prior sd, shared": fitted.choice.prior.shared,
        "prior sd, bands": fitted.choice.prior.bands,
        "prior sd, deviations": fitted.choice.prior.deviation,
        "calibration slope": fitted.calibration.slope,
        "calibration intercept": fitted.calibration.intercept,
        "converged": "yes" if has_converged(fitted.regression) else "no",
    }


def _checked(
    columns: Mapping[str, Column],
    actions: Sequence[str],
    labels: ArrayLike,
    order: ArrayLike | None,
    clusters: ArrayLike | None,
    barred: Mapping[str, frozenset[str]],
) -> _Table:
    truth = np.asarray(labels, dtype=np.float64)
    lengths = {path: len(column) for path, column in columns.items()} | {"actions": len(actions)}
    for name, array in (("order", order), ("clusters", clusters)):
        if array is not None:
            lengths[name] = len(np.asarray(array))
    if unequal := {name: length for name, length in lengths.items() if length != len(truth)}:
        raise InvalidTable(f"there are {len(truth)} labels, but other lengths elsewhere: {unequal}")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise InvalidTable("labels must be 0 or 1 for every row; leave rows without an answer out")
    names = np.arange(len(truth)) if clusters is None else np.asarray(clusters)
    table = _Table(
        columns=columns,
        actions=np.asarray(actions, dtype=np.str_),
        labels=truth,
        clusters=np.unique(names, return_inverse=True)[1].astype(np.int64),
        order=None if order is None else np.asarray(order),
        barred={action: barred[action] for action in sorted(set(actions) & barred.keys()) if barred[action]},
    )
    _refuse_too_few(table)
    return table


def _refuse_too_few(table: _Table) -> None:
    for label, name in ((1.0, "positive"), (0.0, "negative")):
        cluster_count = len(np.unique(table.clusters[table.labels == label]))
        if cluster_count < CLASS_CLUSTERS_MIN:
            raise InvalidTable(
                f"too few customers have a {name} label: {cluster_count}, where at least {CLASS_CLUSTERS_MIN} are "
                "needed to train and to check what was learnt"
            )


def _material(table: _Table, layout: Layout, folds: Indexes) -> _Material:
    return _Material(
        table=table,
        layout=layout,
        design=layout.design(table.columns, table.actions.tolist(), table.barred),
        folds=folds,
        priority=np.random.default_rng(2).permutation(int(table.clusters.max()) + 1)[table.clusters],
        tree_columns=layout.tree_columns(table.barred),
    )


def _trials(material: _Material, sample: Indexes, validation: str) -> list[Split]:
    """The splits of the sample on which choices are made."""
    table = material.table
    if validation not in KINDS:
        raise InvalidTable(f"validation {validation!r} is unknown. Known: {', '.join(KINDS)}.")
    if validation == "random":
        return by_folds(sample, material.folds[sample])
    if table.order is None:
        raise InvalidTable("validation in time needs the time of each row")
    return by_time(sample, table.order, table.labels, material.folds)


def _choose(material: _Material, splits: Sequence[Split], validation: str, progress: Progress) -> _Choice:
    """The form and the prior with the least log loss on held-out rows.

    One width after the other: all combinations would take ten times as long and find the same, or noise. Trees start
    from what the linear form settled on, with narrower priors: what trees explain, the rest need not.
    """
    widths, deviations = WIDTHS[validation], DEVIATION_SDS if material.layout.levels else DEVIATION_SDS[:1]
    tries = len(deviations) + 2 * len(widths.shared) + len(widths.bands) - 1
    trial = _Trial(material, splits, lambda what, done: progress(what, done, tries))
    linear = trial.best(False, [Prior(widths.shared[0], widths.bands[0], deviation) for deviation in deviations])
    linear = trial.best(False, [linear, *(linear._replace(shared=sd) for sd in widths.shared)])
    linear = trial.best(False, [linear, *(linear._replace(bands=sd) for sd in widths.bands)])
    if not material.tree_columns.size:
        return _Choice(False, linear)
    start = linear._replace(bands=min(linear.bands, BANDS_BESIDE_TREES))
    beside = trial.best(True, [start._replace(shared=sd) for sd in widths.shared])
    narrower = [sd for sd in deviations if sd < beside.deviation][-1:]
    boosted = _Choice(True, trial.best(True, [beside, *(beside._replace(deviation=sd) for sd in narrower)]))
    worse_by = trial.losses[boosted] - trial.losses[_Choice(False, linear)]
    are_better = _hold_later(worse_by, splits) if validation == "time" else _are_better(worse_by, trial.clusters)
    return boosted if are_better else _Choice(False, linear)


def _hold_later(worse_by: Floats, splits: Sequence[Split]) -> bool:
    """Whether trees lose less in every stretch of time: what they learn of one of them often fails in another."""
    ends = np.cumsum([len(split.held_out) for split in splits])[:-1]
    return all(stretch.mean() < 0.0 for stretch in np.split(worse_by, ends))


def _are_better(worse_by: Floats, clusters: Indexes) -> bool:
    """Whether trees lose less on other people; in doubt, within one standard error, they are taken when rows are few.

    With few rows validation is hard on trees, which would gain most from the quarter that it holds out. With many, a
    gain in doubt is small, and not worth several times the cost of serving.
    """
    totals = np.bincount(clusters, weights=worse_by - worse_by.mean())
    error = float(np.sqrt((totals**2).sum())) / len(worse_by)
    return float(worse_by.mean()) < (error if len(worse_by) <= DOUBT_ROWS_MAX else -error)


class _Trial:
    """Fits of choices on the seen rows of splits, and the losses on their held-out rows."""

    def __init__(self, material: _Material, splits: Sequence[Split], tell: Callable[[str, int], None]) -> None:
        held_out = np.concatenate([split.held_out for split in splits])
        self.clusters = material.table.clusters[held_out]
        self.losses: dict[_Choice, Floats] = {}  # of each held-out row
        self._labels = material.table.labels[held_out]
        self._material, self._splits, self._tell = material, splits, tell
        self._parts: dict[bool, list[Part]] = {}

    def best(self, boosted: bool, priors: Sequence[Prior]) -> Prior:
        """The first of those with the least loss."""
        choices = [_Choice(boosted, prior) for prior in priors]
        for choice in choices:
            if choice not in self.losses:
                self._try(choice)
        return min(choices, key=lambda choice: self.losses[choice].mean()).prior

    def _try(self, choice: _Choice) -> None:
        self._tell("choosing trees and priors" if choice.boosted else "choosing priors", len(self.losses))
        if choice.boosted not in self._parts:
            self._parts[choice.boosted] = [self._material.part(each, boosted=choice.boosted) for each in self._splits]
        scales = self._material.layout.scales(choice.prior, scored=choice.boosted)
        chances = sigmoid(crossed(self._parts[choice.boosted], scales).logits)
        self.losses[choice] = log_losses(self._labels, chances)


def _fit_all(material: _Material, choice: _Choice, progress: Progress) -> tuple[_Fitted, Floats]:
    """The regression on the whole table, and float64[n]: the logit of each row by a fit that did not see it."""
    labels, rows = material.table.labels, np.arange(len(material.table.labels))
    splits = by_folds(rows, material.folds if len(rows) <= QUARTERS_ROWS_MAX else material.folds % 2)
    scales = material.layout.scales(choice.prior, scored=choice.boosted)
    found = crossed(_told(material, splits, choice, progress), scales)
    unseen = np.empty(len(rows))
    unseen[np.concatenate([split.held_out for split in splits])] = found.logits
    progress("fitting", 0, 1)
    grown = material.grown(rows) if choice.boosted else None
    design = material.design
    if grown is not None:
        design = material.layout.with_scores(design, material.table.actions, grown.unseen)
    design = scaled(design, scales)
    regression = fit(design, labels, found.coefficients)
    return _Fitted(choice, scales, regression, calibrate(unseen, labels), design, grown), unseen


def _told(material: _Material, splits: Sequence[Split], choice: _Choice, progress: Progress) -> Iterator[Part]:
    """One part after the other: all at once they would take as much memory as the table several times over."""
    for index, split in enumerate(splits):
        progress("calibrating", index, len(splits))
        yield material.part(split, boosted=choice.boosted)


def _in_time(material: _Material, order: NDArray[np.generic], fitted: _Fitted) -> Figures | None:
    """Figures on the last tenth of time of a fit on what came before; None when that holds too few of a label."""
    table, split = material.table, last_of_time(order)
    if not is_usable(split, table.labels, material.folds):
        return None
    part = material.part(split, boosted=fitted.choice.boosted)
    chances = sigmoid(crossed([part], fitted.scales).logits)
    late = split.held_out
    return figures_of(table.labels[late], chances, table.actions[late], clusters=table.clusters[late])


def _served(material: _Material, fitted: _Fitted) -> PropensityModel:
    """Fold the calibration into the regression, then its coefficients, with their variances, into a posterior.

    The golden propensities are scikit-learn's own, over the sparse design: nothing of the serving form takes part.
    """
    layout, regression, calibration = material.layout, fitted.regression, fitted.calibration
    regression.coef_ *= calibration.slope
    regression.coef_[0, 0] += calibration.intercept / INTERCEPT_SD
    coefficients = regression.coef_[0]
    means = coefficients * fitted.scales
    spreads = variances(fitted.design, coefficients) * fitted.scales**2
    posterior = Posterior(row_keys_of(layout.actions), layout.by_node(means), layout.by_node(spreads))
    deviation = fitted.choice.prior.deviation
    prior_variances = PriorVariances(intercept=(DEVIATION_INTERCEPT_SD**2,) * 3, slope=(deviation**2,) * 3)
    forest = None if fitted.grown is None else _forest(material, fitted.grown)

    columns, actions = golden_columns(layout.encoder, layout.actions, forest)
    design = layout.design(columns, actions, NOTHING_BARRED)
    if fitted.grown is not None:
        scores = fitted.grown.scores(design[:, material.tree_columns].toarray())
        design = layout.with_scores(design, np.asarray(actions, dtype=np.str_), scores)
    golden = golden_rows(columns, actions, regression.predict_proba(scaled(design, fitted.scales))[:, 1])
    evidence = Counter(material.table.actions.tolist())
    return PropensityModel(layout.encoder, forest, posterior, prior_variances, golden, evidence)


def _forest(material: _Material, grown: Grown) -> Forest:
    encoded = material.design[:PARITY_ROWS, : material.layout.encoder.width].toarray()
    return exported(grown, material.tree_columns, encoded)
