"""Policies: who decides in the simulation, and what each learns from answers.

Four rivals over the same contacts: `nextbest` is the product's own learner and exploration; `epsilon_greedy` learns
with the same learner and explores uniformly; `thompson` keeps a Beta distribution per action and knows no customer;
`retrained` takes the best by a batch regression that is fitted again every RETRAIN_DAYS days and does not explore.
Candidates are all actions and, last, nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from decisioning.exploration import chosen, selection_probabilities
from examples.learning.world import NOTHING_VALUE, World
from models.adaptive import Learner
from models.design import Layout, Prior
from models.hierarchy import ancestry, row_keys_of
from models.propensity import Posterior, PropensityModel
from models.regression import TOLERANCE_COARSE, fit, scaled
from models.train import train

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HALF_LIFE_DAYS = 60.0
SACRIFICE, SCALE_MIN, LAUNCH_SHARE, LAUNCH_IMPRESSIONS = 0.005, 1.0, 0.01, 200
EPSILON = 0.05
RETRAIN_DAYS = 25.0
RETRAIN_ROWS_MAX = 30_000  # the latest ones; more would take minutes per run and are older than what drifts
RETRAIN_PRIOR = Prior(shared=0.1, bands=0.1, deviation=0.1)
PRIOR_ROWS = 50.0  # `thompson`: what the mean rate of the start counts for, in rows


@dataclass(frozen=True, slots=True)
class Start:
    """What every policy knows on day 0: random contacts and a model trained on them."""

    world: World
    model: PropensityModel
    regressors: Floats  # [contacts, width]
    contacts: Ints
    actions: Ints
    labels: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trial:
    """An offer that was seen."""

    contact: int
    action: int
    day: float


class Policy(Protocol):
    """Chooses for a block of contacts, then hears of impressions and, later, of a yes."""

    def choose(self, contacts: Ints, first_index: int, day: float) -> Ints:
        """Positions of the chosen candidates; the last one is nothing."""
        ...

    def saw(self, trial: Trial) -> None:
        """An offer was seen, and so far has no positive response."""
        ...

    def accepted(self, trial: Trial, day: float) -> None:
        """A trial told before turns out positive on this day."""
        ...


def start_of(world: World, known: Ints, seed: int, row_count: int) -> Start:
    """A small batch model: contacts and known actions drawn uniformly, answers from the truth of day 0."""
    rng = np.random.default_rng([seed, 7])
    contacts = rng.integers(0, len(world.log_odds), row_count)
    actions = rng.choice(known, row_count)
    chances = world.chances(contacts, np.zeros(row_count))[np.arange(row_count), actions]
    labels = rng.random(row_count) < chances
    model = train(
        {path: column[contacts] for path, column in world.columns.items()},
        actions=[world.actions[action] for action in actions.tolist()],
        labels=labels,
        features=world.features,
    ).model
    return Start(world, model, model.regressors_of_table(world.columns), contacts, actions, labels)


@dataclass(slots=True)
class Online:
    """What nextbest and epsilon_greedy share: the learner, and its posterior as last published."""

    start: Start
    learner: Learner = field(init=False)

    def __post_init__(self) -> None:
        self.learner = Learner(self.start.model, half_life=HALF_LIFE_DAYS)

    def saw(self, trial: Trial) -> None:
        action = self.start.world.actions[trial.action]
        self.learner.fold(self.start.regressors[trial.contact], action, False, trial.day)

    def accepted(self, trial: Trial, day: float) -> None:
        self.learner.revise(self.start.regressors[trial.contact], self.start.world.actions[trial.action], day)

    def values(self, contacts: Ints, day: float, *, deviations: float) -> Floats:
        """float64[n, actions + 1]: worth at the propensity so many standard deviations above the mean."""
        means, variances = summed(self.learner.posterior(day), self.start.world.actions, self.start.model)
        regressors = self.start.regressors[contacts]
        logits = regressors @ means.T + deviations * np.sqrt(regressors**2 @ variances.T)
        return with_nothing(self.start.world.value / (1.0 + np.exp(-logits)))


@dataclass(slots=True)
class Nextbest(Online):
    """Inverse-gap weighting over optimistic values, launch floors for actions the model was not trained on."""

    sacrifice: float = SACRIFICE

    def probabilities(self, contacts: Ints, day: float) -> Floats:
        actions, model = self.start.world.actions, self.start.model
        seen = self.learner.impressions
        launches = [key not in model.evidence and seen.get(key, 0) < LAUNCH_IMPRESSIONS for key in actions]
        shares = [
            selection_probabilities(
                row,
                explores=np.ones(len(actions) + 1, dtype=np.bool_),
                launches=np.array([*launches, False]),
                sacrifice=self.sacrifice,
                scale_min=SCALE_MIN,
                launch_share=LAUNCH_SHARE,
            )
            for row in self.values(contacts, day, deviations=1.0)
        ]
        return np.array(shares)

    def choose(self, contacts: Ints, first_index: int, day: float) -> Ints:
        hashes = hashes_of([*self.start.world.actions, "nothing"])
        drawn = [
            chosen(row, hashes, person=str(first_index + index), draw_index=0, position=0, salt="simulation")
            for index, row in enumerate(self.probabilities(contacts, day))
        ]
        return np.array(drawn, dtype=np.int64)


@dataclass(slots=True)
class EpsilonGreedy(Online):
    """The best at the mean; one decision in twenty anything at all."""

    def choose(self, contacts: Ints, first_index: int, day: float) -> Ints:
        values = self.values(contacts, day, deviations=0.0)
        rng = np.random.default_rng([first_index, 11])
        anything = rng.integers(0, values.shape[1], len(contacts))
        return np.where(rng.random(len(contacts)) < EPSILON, anything, values.argmax(axis=1))


@dataclass(slots=True)
class Thompson:
    """A Beta distribution per action, one draw for each decision; begins with the counts of the start's rows."""

    start: Start
    yes: Floats = field(init=False)
    no: Floats = field(init=False)

    def __post_init__(self) -> None:
        start, count = self.start, len(self.start.world.actions)
        rate = float(start.labels.mean())
        self.yes = PRIOR_ROWS * rate + np.bincount(start.actions, start.labels, count)
        self.no = PRIOR_ROWS * (1.0 - rate) + np.bincount(start.actions, ~start.labels, count)

    def choose(self, contacts: Ints, first_index: int, day: float) -> Ints:
        rng = np.random.default_rng([first_index, 13])
        rates = rng.beta(self.yes, self.no, (len(contacts), len(self.yes)))
        return with_nothing(rates * self.start.world.value).argmax(axis=1)

    def saw(self, trial: Trial) -> None:
        self.no[trial.action] += 1.0

    def accepted(self, trial: Trial, day: float) -> None:
        self.no[trial.action] -= 1.0
        self.yes[trial.action] += 1.0


@dataclass(slots=True)
class Retrained:
    """The best by a batch regression, fitted again from time to time with the labels as they are known by then."""

    start: Start
    weights: Floats = field(init=False)  # [actions, width]
    regressors: Floats = field(init=False)
    layout: Layout = field(init=False)
    trials: list[Trial] = field(default_factory=list)
    positives: set[int] = field(default_factory=set)  # ids of trials
    fitted_on: float = 0.0

    def __post_init__(self) -> None:
        model, actions = self.start.model, self.start.world.actions
        self.layout = Layout(model.encoder, actions)
        self.weights, self.regressors = summed(model.posterior, actions, model)[0], self.start.regressors

    def choose(self, contacts: Ints, first_index: int, day: float) -> Ints:
        if day >= self.fitted_on + RETRAIN_DAYS:
            self._fit()
            self.fitted_on = day
        chances = 1.0 / (1.0 + np.exp(-self.regressors[contacts] @ self.weights.T))
        return with_nothing(chances * self.start.world.value).argmax(axis=1)

    def saw(self, trial: Trial) -> None:
        self.trials.append(trial)

    def accepted(self, trial: Trial, day: float) -> None:
        self.positives.add(id(trial))

    def _fit(self) -> None:
        start, recent = self.start, self.trials[-RETRAIN_ROWS_MAX:]
        contacts = np.concatenate([start.contacts, np.array([trial.contact for trial in recent], dtype=np.int64)])
        actions = np.concatenate([start.actions, np.array([trial.action for trial in recent], dtype=np.int64)])
        labels = np.concatenate([start.labels, [id(trial) in self.positives for trial in recent]]).astype(np.float64)
        keys, world = self.layout.actions, start.world
        design = self.layout.design(
            {path: column[contacts] for path, column in world.columns.items()},
            [world.actions[action] for action in actions.tolist()],
            {},
        )
        scales = self.layout.scales(RETRAIN_PRIOR, scored=False)
        means = self.layout.by_node(fit(scaled(design, scales), labels, tolerance=TOLERANCE_COARSE).coef_[0] * scales)
        row_of = {node: row for row, node in enumerate(row_keys_of(keys))}
        self.weights = np.array([means[[row_of[node] for node in ancestry(key)]].sum(axis=0) for key in world.actions])
        self.regressors = start.regressors[:, : start.model.encoder.width]  # the trees' score, if any, stays out


def summed(posterior: Posterior, actions: Sequence[str], model: PropensityModel) -> tuple[Floats, Floats]:
    """float64[actions, width] each: means and variances of coefficients, summed over the nodes above an action."""
    row_of = {node: row for row, node in enumerate(posterior.nodes)}
    means, variances = np.zeros((2, len(actions), posterior.means.shape[1]))
    for index, action in enumerate(actions):
        for node in ancestry(action):
            if node in row_of:
                means[index] += posterior.means[row_of[node]]
                variances[index] += posterior.variances[row_of[node]]
            else:
                variances[index] += model.deviation_variances(node)
    return means, variances


def with_nothing(values: Floats) -> Floats:
    """One more column: nothing, whose worth is certain."""
    return np.hstack([values, np.full((len(values), 1), NOTHING_VALUE)])


def hashes_of(keys: Sequence[str]) -> NDArray[np.uint64]:
    """A number for each candidate's key."""
    digests = (blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.array([int.from_bytes(digest) for digest in digests], dtype=np.uint64)
