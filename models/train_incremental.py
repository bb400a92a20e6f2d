"""Training of incremental value: from randomised rows, nothing among them, to uplifts that the data can show.

Pooled: one boosted forest over customer and action, because a model per action chases the luckiest of many noisy means.
An action enters as its mean effect, so all actions together say whose outcome can be moved, and by how much. Everything
is judged out of fold, by doubly robust values against giving everybody the single best action; what does not beat that
is not served. Training side: imports scikit-learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from models.boost import one_thread, plain_nodes
from models.errors import ArtifactFaulty, InvalidTable
from models.features import Column, FeatureEncoder, Floats, Indexes
from models.forest import Forest
from models.hierarchy import ancestry, row_keys_of
from models.incremental import NOTHING, OUTCOME_MAX, IncrementalModel, blended
from models.policy_value import Estimate, mean_by_person

FOLD_COUNT = 5
TREE_COUNT = 100  # 200 at half the rate gained nothing
LEARNING_RATE = 0.06
LEAVES = 8  # 16 lost to the best single action when forms were free
LEAF_ROWS_MIN = 200  # noise of an outcome is many times an effect
LEAF_SHARE_MAX = 0.02  # of a small table
SHRINKAGE = 10.0  # L2 of leaf values, in rows
CAP_QUANTILE = 0.99  # of outcomes other than 0: one purchase of a thousand moves no split. Training only.
ERRORS_NEEDED = 2.0  # standard errors by which a form must be better than the more careful one
ERRORS_ALLOWED = 1.0  # standard errors by which it may look worse than the best single action when contacts are free
PERSONS_MIN = 50  # with nothing, and with an action; a rarer action is served with the mean effect of its group
TRUST_MIN = 0.2  # of an action's own mean against its group's: who leads stays visible where noise explains all
PARITY_MAX = 1e-9

Progress = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass(frozen=True, slots=True)
class FormReport:
    """How one form did out of fold; differences are doubly robust, per row, with intervals by person."""

    form: str
    scale: float  # what its uplifts were multiplied by, so that they are right on average
    harmless: bool  # nobody was shown to lose by the action of the largest uplift, so no uplift is below zero
    free_contacts: Estimate  # against the best single action, when contacts cost nothing
    even_contacts: Estimate  # the same when a contact costs what that action adds on average
    over_ordered: Estimate | None  # against the ordered form, when contacts cost nothing


@dataclass(frozen=True, slots=True)
class IncrementalReport:
    """What was found, as plain data."""

    unit: str
    rows: int
    persons: int
    nothing: Estimate  # mean outcome of doing nothing
    effects: dict[str, Estimate]  # of each action over nothing
    best_action: str
    even_cost: float  # mean effect of the best action: contacting everybody is then worth as much as nobody
    forms: tuple[FormReport, ...]
    form: str  # the one that is served
    reason: str  # why, in a sentence


@dataclass(frozen=True, slots=True)
class TrainedIncremental:
    """Uplifts ready to be served, and what is known about them."""

    model: IncrementalModel
    report: IncrementalReport


@dataclass(frozen=True, slots=True)
class _Table:
    """The checked table."""

    encoded: Floats
    columns: Indexes  # of `encoded` that trees may split
    actions: tuple[str, ...]  # without nothing
    taken: Indexes  # 0 for nothing, 1..len(actions), -1 for an action too rare to be valued
    outcomes: Floats
    capped: Floats
    probabilities: Floats
    persons: Indexes


class _Evidence(NamedTuple):
    """What forms are judged by."""

    robust: Floats  # [n, actions] doubly robust scores over nothing
    effects: Floats  # [actions] shrunk mean effects
    best: Indexes  # [n] the single best action, chosen on the other folds
    persons: Indexes
    even_cost: float  # mean effect of the best action


class _Form(NamedTuple):
    """A form judged out of fold."""

    report: FormReport
    gains: Floats  # [n] doubly robust gain of its policy over nothing, when contacts are free


def _silent(what: str, done: int, total: int) -> None:
    """Reports to nobody."""


def train_incremental(
    columns: Mapping[str, Column],
    *,
    encoder: FeatureEncoder,
    actions: Sequence[str],
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    persons: ArrayLike,
    unit: str,
    progress: Progress = _silent,
) -> TrainedIncremental:
    """Learn what actions add over nothing from n randomised rows.

    columns        values by attribute path, each of length n
    encoder        of the propensity model that the uplifts will belong to
    actions        issue/group/action of each row, or NOTHING
    outcomes       what followed: 0 or 1 for a label, or money
    probabilities  with which the row's action, or nothing, was drawn then
    persons        whose rows they are; a person's rows never stand on both sides of a validation
    unit           "label" or "value", for readers of the uplifts
    Raises InvalidTable for rows that cannot be learnt from.
    """
    table = _checked(columns, encoder, actions, outcomes, probabilities, persons)
    folds = _folds(table.persons)
    total = 2 * FOLD_COUNT + 1
    ordered = _cross_fitted(table, folds, _ordered_codes, lambda done: progress("learning uplifts", done, total))
    free = _cross_fitted(table, folds, _free_codes, lambda done: progress("learning uplifts", FOLD_COUNT + done, total))
    scores = _robust_scores(table, ordered)
    robust = (scores - scores[:, :1])[:, 1:]
    effects = {action: mean_by_person(robust[:, i], table.persons) for i, action in enumerate(table.actions)}
    shrunk = _shrunk(list(effects.values()), table.actions)
    evidence = _Evidence(robust, shrunk, _best_of_training(table, folds), table.persons, max(0.0, float(shrunk.max())))
    careful = _judged("ordered", evidence, ordered)
    bold = _judged("free", evidence, free, careful.gains)
    form, reason = _chosen(careful.report, bold.report, unit)
    progress("learning uplifts", total - 1, total)
    judged = bold.report if form == "free" else careful.report
    model = _served(table, encoder, unit, form, judged, effects=shrunk, nothing=float(scores[:, 0].mean()))
    report = IncrementalReport(
        unit=unit,
        rows=len(table.taken),
        persons=int(table.persons.max()) + 1,
        nothing=mean_by_person(scores[:, 0], table.persons),
        effects=effects,
        best_action=model.best_action,
        even_cost=evidence.even_cost,
        forms=(careful.report, bold.report),
        form=form,
        reason=reason,
    )
    return TrainedIncremental(model, report)


def _checked(
    columns: Mapping[str, Column],
    encoder: FeatureEncoder,
    actions: Sequence[str],
    outcomes: ArrayLike,
    probabilities: ArrayLike,
    persons: ArrayLike,
) -> _Table:
    amounts = np.asarray(outcomes, dtype=np.float64)
    chances = np.asarray(probabilities, dtype=np.float64)
    names = np.asarray(persons)
    if not len(actions) == len(amounts) == len(chances) == len(names):
        raise InvalidTable("actions, outcomes, probabilities and persons are of different lengths")
    if not (np.abs(amounts) <= OUTCOME_MAX).all():
        raise InvalidTable(f"an outcome is missing or beyond {OUTCOME_MAX:g}; uplifts need a true one in every row")
    if not ((chances > 0.0) & (chances <= 1.0)).all():
        raise InvalidTable("a logging probability is missing or not above 0 and at most 1; uplifts need all of them")
    frequent = frequent_choices(actions, persons)
    keys = (NOTHING, *sorted(frequent - {NOTHING}))
    if NOTHING not in frequent or len(keys) == 1:
        raise InvalidTable(f"uplifts need {PERSONS_MIN} persons with nothing, and {PERSONS_MIN} with an action")
    position = {key: index for index, key in enumerate(keys)}
    taken = np.fromiter((position.get(action, -1) for action in actions), dtype=np.int64, count=len(actions))
    occurring = np.abs(amounts[amounts != 0.0])
    cap = float(np.quantile(occurring, CAP_QUANTILE)) if len(occurring) else 0.0
    return _Table(
        encoded=encoder.encode_table(columns),
        columns=np.flatnonzero(~encoder.is_band)[1:],
        actions=keys[1:],
        taken=taken,
        outcomes=amounts,
        capped=np.clip(amounts, -cap, cap),
        probabilities=chances,
        persons=np.unique(names, return_inverse=True)[1].astype(np.int64),
    )


def frequent_choices(actions: Sequence[str], persons: ArrayLike) -> frozenset[str]:
    """The actions, and NOTHING, that enough persons had for a mean effect, also when a fold of them is left out."""
    person_counts = Counter(action for action, _ in set(zip(actions, np.asarray(persons).tolist(), strict=True)))
    return frozenset(action for action, count in person_counts.items() if count >= PERSONS_MIN)


def _folds(persons: Indexes) -> Indexes:
    """int64[n], 0..FOLD_COUNT-1: whole persons."""
    count = int(persons.max()) + 1
    fold_of = np.random.default_rng(0).permutation(count) % FOLD_COUNT
    return fold_of[persons].astype(np.int64)


def _cross_fitted(
    table: _Table, folds: Indexes, codes_of: Callable[[Floats], Floats], told: Callable[[int], None]
) -> Floats:
    """float64[n, 1 + actions]: outcome of nothing and of each action, by forests that saw nobody of the row's fold."""
    expected = np.empty((len(table.taken), 1 + len(table.actions)))
    for fold in range(FOLD_COUNT):
        told(fold)
        seen, rest = folds != fold, folds == fold
        codes = codes_of(_effects_of(table, seen))
        forest = _grown(table, seen, codes)
        for index, code in enumerate(codes):
            with one_thread():
                expected[rest, index] = forest.predict(_with_code(table, rest, code))
    return expected


def _grown(table: _Table, rows: NDArray[np.bool_], codes: Floats) -> HistGradientBoostingRegressor:
    """The forest over customer and code; in a lone column of codes, a larger mean effect never lowers the outcome."""
    rows = rows & (table.taken >= 0)
    monotone = [0] * len(table.columns) + ([1] if codes.shape[1] == 1 else [0] * codes.shape[1])
    forest = HistGradientBoostingRegressor(
        max_iter=TREE_COUNT,
        learning_rate=LEARNING_RATE,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=max(1, min(LEAF_ROWS_MIN, int(rows.sum() * LEAF_SHARE_MAX))),
        l2_regularization=SHRINKAGE,
        early_stopping=False,
        monotonic_cst=monotone,
        random_state=0,
    )
    inputs = np.hstack([table.encoded[rows][:, table.columns], codes[table.taken[rows]]])
    with one_thread():
        return forest.fit(inputs, table.capped[rows])


def _with_code(table: _Table, rows: NDArray[np.bool_], code: Floats) -> Floats:
    customers = table.encoded[rows][:, table.columns]
    return np.hstack([customers, np.broadcast_to(code, (len(customers), len(code)))])


def _ordered_codes(effects: Floats) -> Floats:
    """float64[1 + actions, 1]: mean effects, 0 for nothing."""
    return effects[:, None]


def _free_codes(effects: Floats) -> Floats:
    """float64[1 + actions, 1 + actions]: the mean effect, and a column for each action."""
    marks = np.eye(len(effects))[:, 1:]
    return np.hstack([effects[:, None], marks])


def _effects_of(table: _Table, rows: NDArray[np.bool_]) -> Floats:
    """float64[1 + actions]: shrunk mean effects over nothing on some rows, by weighted means; 0 for nothing itself."""
    weights = 1.0 / table.probabilities
    means = []
    for index in range(1 + len(table.actions)):
        own = rows & (table.taken == index)
        mean = float(np.average(table.outcomes[own], weights=weights[own]))
        error = float(np.linalg.norm(weights[own] * (table.outcomes[own] - mean)) / weights[own].sum())
        means.append(Estimate(mean, error, mean, mean))
    effects = [mean._replace(value=mean.value - means[0].value) for mean in means[1:]]
    return np.append(0.0, _shrunk(effects, table.actions))


def _shrunk(effects: Sequence[Estimate], actions: Sequence[str]) -> Floats:
    """float64[actions]: each mean effect drawn to its group's mean as far as noise explains their spread.

    The best of many noisy means is too high (empirical Bayes takes that back), and the group's mean is also where its
    next action will stand.
    """
    values = np.array([effect.value for effect in effects])
    noise = np.array([effect.standard_error for effect in effects]) ** 2
    groups = np.unique([ancestry(action)[2] for action in actions], return_inverse=True)[1]
    sizes = np.bincount(groups)[groups]
    centres = (np.bincount(groups, weights=values) / np.bincount(groups))[groups]
    several = sizes > 1
    excess = (values - centres)[several] ** 2 * (sizes / np.maximum(sizes - 1, 1))[several] - noise[several]
    spread = max(0.0, float(excess.mean())) if several.any() else 0.0
    total = spread + noise
    trust = np.maximum(TRUST_MIN, np.divide(spread, total, out=np.ones_like(total), where=total > 0.0))
    shrunk: Floats = centres + trust * (values - centres)
    return shrunk


def _robust_scores(table: _Table, expected: Floats) -> Floats:
    """float64[n, 1 + actions]: unbiased outcome of each choice in each row, whatever the forest expected."""
    scores = expected.copy()
    rows = np.flatnonzero(table.taken >= 0)
    taken = table.taken[rows]
    scores[rows, taken] += (table.outcomes[rows] - expected[rows, taken]) / table.probabilities[rows]
    return scores


def _best_of_training(table: _Table, folds: Indexes) -> Indexes:
    """int64[n], 0..actions-1: the single best action, chosen on the other folds."""
    best = [int(np.argmax(_effects_of(table, folds != fold)[1:])) for fold in range(FOLD_COUNT)]
    return np.array(best)[folds]


def _judged(form: str, evidence: _Evidence, expected: Floats, ordered: Floats | None = None) -> _Form:
    """How the form's policy would have done, by contacts that cost nothing and by such as cost their mean worth."""
    rows = np.arange(len(evidence.best))
    uplifts = (expected - expected[:, :1])[:, 1:]
    of_best, robust_of_best = uplifts[rows, evidence.best], evidence.robust[rows, evidence.best]
    squares = float((of_best**2).sum())
    scale = max(0.0, float((of_best * robust_of_best).sum()) / squares) if squares > 0.0 else 0.0

    def gained(harmless: bool, contact_cost: float) -> Floats:
        return gains(
            blended(scale * uplifts, evidence.effects, harmless=harmless), evidence.robust, contact_cost=contact_cost
        )

    harmless = not _is_shown(mean_by_person(gained(False, 0.0) - gained(True, 0.0), evidence.persons))
    free, even = gained(harmless, 0.0), gained(harmless, evidence.even_cost)
    report = FormReport(
        form=form,
        scale=scale,
        harmless=harmless,
        free_contacts=mean_by_person(free - robust_of_best, evidence.persons),
        even_contacts=mean_by_person(even - (robust_of_best - evidence.even_cost), evidence.persons),
        over_ordered=None if ordered is None else mean_by_person(free - ordered, evidence.persons),
    )
    return _Form(report, free)


def gains(uplifts: Floats, robust: Floats, *, contact_cost: float) -> Floats:
    """float64[n]: gain over nothing of taking the action of the largest uplift where that exceeds the contact cost.

    uplifts  float64[n, actions]  predicted
    robust   float64[n, actions]  doubly robust scores over nothing
    """
    choice = uplifts.argmax(axis=1)
    rows = np.arange(len(choice))
    return np.where(uplifts[rows, choice] > contact_cost, robust[rows, choice] - contact_cost, 0.0)


def _chosen(ordered: FormReport, free: FormReport, unit: str) -> tuple[str, str]:
    """The form to serve, and why."""
    assert free.over_ordered is not None  # _judged
    if _is_shown(free.over_ordered) and _is_sound(free):
        return "free", "customers differ in which action adds most, out of fold by " + _said(free.over_ordered, unit)
    if _is_sound(ordered):
        return "ordered", (
            "customers differ in how much actions add: choosing whom to contact gains "
            f"{_said(ordered.even_contacts, unit)} where a contact costs what the best action adds on average; "
            "that they differ in which action adds most is not shown"
        )
    return "constant", (
        f"choosing whom to contact gains only {_said(ordered.even_contacts, unit)} where a contact costs what the best "
        f"action adds on average, and {_said(ordered.free_contacts, unit)} where it costs nothing: everybody gets the "
        "mean effects, so the single best action stays the best for all"
    )


def _is_sound(report: FormReport) -> bool:
    """A gain where choosing can gain most, and no loss where it can gain least."""
    free = report.free_contacts
    return _is_shown(report.even_contacts) and free.value >= -ERRORS_ALLOWED * free.standard_error


def _is_shown(gain: Estimate) -> bool:
    return gain.value > 0.0 and gain.value >= ERRORS_NEEDED * gain.standard_error


def _said(gain: Estimate, unit: str) -> str:
    return f"{gain.value:+.4g} ± {gain.standard_error:.2g} {'positives' if unit == 'label' else 'in value'} a row"


def _served(
    table: _Table,
    encoder: FeatureEncoder,
    unit: str,
    form: str,
    judged: FormReport,
    *,
    effects: Floats,
    nothing: float,
) -> IncrementalModel:
    """The chosen form, grown on all rows. Nodes above the actions stand at the mean of what is below them."""
    nodes = row_keys_of(table.actions)
    below = np.array([[node in ancestry(action) for action in table.actions] for node in nodes], dtype=np.float64)
    means = below @ effects / below.sum(axis=1)
    if form == "constant":
        return IncrementalModel(unit, encoder.width, nodes, means, nothing=nothing)
    codes = (_free_codes if form == "free" else _ordered_codes)(np.append(0.0, effects))
    grown = _grown(table, np.ones(len(table.taken), dtype=np.bool_), codes)
    node_codes = np.zeros((len(nodes), codes.shape[1]))  # a group has no mark of its own: it is none of its actions
    node_codes[[nodes.index(action) for action in table.actions]] = codes[1:]
    node_codes[:, 0] = means
    model = IncrementalModel(
        unit,
        encoder.width,
        nodes,
        means,
        nothing=nothing,
        codes=node_codes,
        forest=_exported(grown, np.append(table.columns, encoder.width + np.arange(codes.shape[1]))),
        scale=judged.scale,
        harmless=judged.harmless,
    )
    _refuse_parity_gap(model, table, grown, codes)
    return model


def _exported(grown: HistGradientBoostingRegressor, columns: Indexes) -> Forest:
    """The trees in the form that is served, their tests on encoded columns; the forest's score is the prediction."""
    trees = [plain_nodes(predictors[0].nodes, columns) for predictors in grown._predictors]
    return Forest.of_trees(trees, centre=-float(grown._baseline_prediction.item()))


def _refuse_parity_gap(
    model: IncrementalModel, table: _Table, grown: HistGradientBoostingRegressor, codes: Floats
) -> None:
    """Raise ArtifactFaulty unless the served uplifts are scikit-learn's, on rows of the table."""
    some = np.zeros(len(table.taken), dtype=np.bool_)
    some[:: max(1, len(some) // 500)] = True
    expected = [grown.predict(_with_code(table, some, code)) for code in codes]
    differences = model.scale * (np.array(expected[1:]) - expected[0]).T
    rows = model.rows_for(table.actions)
    wanted = blended(differences, model.effects[rows], harmless=model.harmless)
    gap = float(np.abs(model.uplifts_of_table(table.encoded[some], rows) - wanted).max())
    if not gap <= PARITY_MAX * max(1.0, float(np.abs(wanted).max())):
        raise ArtifactFaulty(
            f"the exported uplifts differ from scikit-learn's by {gap:.2g}, allowed is {PARITY_MAX:.0e}"
        )
