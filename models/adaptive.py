"""Adaptive: a posterior that moves with every labelled trial.

numpy only, deterministic: the same trials in the same order give the same bits. A learner starts at a batch model's
posterior and folds trials one by one; one trial moves the coefficients of all nodes above its action at once, each as
far as it is uncertain. What was learnt fades with a half-life, back to the batch model. decisioning/learning/ decides
what a trial is and in which order they come; propensity.py serves the posterior that comes out. docs/learning.md has
the formulas.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactFaulty, InvalidTable
from models.features import Floats, Indexes
from models.hierarchy import EVERYTHING, ancestry
from models.propensity import LOGIT_MAX, Posterior, PropensityModel

BATCH_ROWS_MAX = 10_000  # what the batch model weighs at most, in rows a node: with all 200,000 nothing would move
# A small training table is fitted with narrow priors, because that foresees best on its own; with these narrow ones
# a learner could not follow for months. Standard deviations, of the logit.
INTERCEPT_SD_MIN = 1.0
SLOPE_SD_MIN = 0.1
CENTRE_TRIALS = 2_000  # how many trials the running mean of an action's regressors remembers
DUMP_FORMAT = 1


@dataclass(slots=True)
class _Step:
    """One trial's effect before its label is known; per node above its action, as of its time."""

    rows: Indexes
    shift: Floats  # [nodes, width]
    variance: Floats
    spread: Floats  # how far the coefficients of deviations move for a unit of surprise
    move: Floats  # the same, for coefficients of the regressors themselves
    chance: float  # of a positive, as expected
    weight: float  # what the trial says about variances
    damping: float


class Learner:
    """The state between two trials; not safe to share between threads."""

    __slots__ = (
        "_at", "_batch", "_centre", "_half_life", "_model", "_nodes", "_prior", "_row_of", "_rows_above", "_shift",
        "_variance", "impressions",
    )  # fmt: skip

    def __init__(self, model: PropensityModel, *, half_life: float) -> None:
        """Starts at the model's own posterior; the unit of `half_life` is the unit of every `at`.

        Raises InvalidTable for a half-life that is not a positive, finite number.
        """
        if not 0.0 < half_life < math.inf:
            raise InvalidTable(
                f"a half-life of {half_life} forgets nothing or everything; it must be positive and finite"
            )
        self._model = model
        self._half_life = half_life
        self._nodes = list(model.posterior.nodes)
        self._row_of = {node: row for row, node in enumerate(self._nodes)}
        self._batch = model.posterior.means.copy()
        self._prior = _opened(model)  # variances at which the learner starts, and to which it forgets
        self._shift = np.zeros_like(self._batch)  # of the means, away from the batch model
        self._variance = self._prior.copy()
        self._at = np.full(len(self._nodes), -math.inf)  # up to when each node has forgotten
        self._centre = np.zeros_like(self._batch)  # per action the running mean of its regressors; elsewhere unused
        self._rows_above: dict[str, Indexes] = {}
        self.impressions: dict[str, int] = {}

    def fold(self, regressors: Floats, action: str, label: bool, at: float) -> None:
        """Learn from one trial: `action` was seen by a person with these regressors and drew this response.

        A step of Bayes' rule for a logistic regression whose coefficients are independent normals: the gradient times
        each coefficient's variance, damped by how uncertain the logit is as a whole.
        Raises InvalidTable for a key that is not issue/group/action.
        """
        self._see(regressors, action)
        step = self._step(regressors, action, at)
        step.shift += step.damping * (float(label) - step.chance) * step.move
        step.variance -= step.weight * step.damping * step.spread * step.spread
        self._keep(step, at)

    def revise(self, regressors: Floats, action: str, at: float) -> None:
        """Take back a negative folded before: a positive followed it after all.

        Of the two updates only the label differs, so the means move by one full label; what the trial said about
        variances stays. What the negative has faded since is not made good: delays are short beside half-lives.
        """
        step = self._step(regressors, action, at)
        step.shift += step.damping * step.move
        self._keep(step, at)

    def retract(self, regressors: Floats, action: str, at: float) -> None:
        """Take back a negative folded before: nobody can have seen it, for example because it was not delivered.

        The means move by what a negative moves them, as they stand now; what the trial said about variances stays.
        Called by decisioning/learning/chain.py, as the two above.
        """
        step = self._step(regressors, action, at)
        step.shift += step.damping * step.chance * step.move
        self._keep(step, at)
        self.impressions[action] -= 1

    def posterior(self, at: float) -> Posterior:
        """What is known at this time, new actions included; the learner itself stays as it is."""
        shift, variance = self._forget(np.arange(len(self._nodes)), at)
        return Posterior(tuple(self._nodes), self._batch + shift, variance)

    def dump(self) -> bytes:
        """Everything a later process needs to go on, bit for bit.

        Sums only, but the mean regressors of an action that one person has seen are that person's.
        """
        about = {
            "format": DUMP_FORMAT,
            "model": self._model.version,
            "half_life": self._half_life,
            "nodes": self._nodes,
            "impressions": self.impressions,
        }
        file = io.BytesIO()
        np.savez(
            file,
            about=np.frombuffer(json.dumps(about, separators=(",", ":")).encode(), dtype=np.uint8),
            shift=self._shift,
            variance=self._variance,
            at=self._at,
            centre=self._centre,
        )
        return file.getvalue()

    @classmethod
    def load(cls, model: PropensityModel, dumped: bytes) -> Learner:
        """The learner that was dumped. Raises ArtifactFaulty for other bytes, or another model's."""
        try:
            with np.load(io.BytesIO(dumped), allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                state = {name: arrays[name] for name in ("shift", "variance", "at", "centre")}
        except Exception as error:  # zip, numpy and json each have their own
            raise ArtifactFaulty(f"a learner's dump cannot be read: {error}") from error
        if about.get("format") != DUMP_FORMAT or about.get("model") != model.version:
            raise ArtifactFaulty(f"a learner's dump of model {about.get('model')} does not fit model {model.version}")
        learner = cls(model, half_life=about["half_life"])
        for node in about["nodes"][len(learner._nodes) :]:
            learner._add(node)
        learner._restore(about["nodes"], state)
        learner.impressions = about["impressions"]
        return learner

    def _restore(self, nodes: list[str], state: Mapping[str, NDArray[np.float64]]) -> None:
        own = {"shift": self._shift, "variance": self._variance, "at": self._at, "centre": self._centre}
        if nodes != self._nodes or any(state[name].shape != array.shape for name, array in own.items()):
            raise ArtifactFaulty("a learner's dump has other nodes than its model, or arrays of another shape")
        self._shift, self._variance, self._at, self._centre = (state[name] for name in own)

    def _see(self, regressors: Floats, action: str) -> None:
        rows = self._rows(action)
        seen = self.impressions[action] = self.impressions.get(action, 0) + 1
        centre = self._centre[rows[-1]]
        centre += (regressors - centre) / min(seen, CENTRE_TRIALS)
        centre[0] = 0.0  # the constant itself does not deviate from anything

    def _step(self, regressors: Floats, action: str, at: float) -> _Step:
        """What a trial does to the nodes above its action, whatever the response.

        Regressors are taken as deviations from their mean over the action's trials. Of a hundred columns, dozens are 1
        for every customer in one form or another: a level, a band, a mark. Together they are a second, third, …
        constant, and each uncertain on its own, all would answer for news that is only about the constant. The estimate
        of everything then moves thirty times too far, most of all when many delayed positives come in at once.
        """
        rows = self._rows(action)
        shift, variance = self._forget(rows, at)
        centre = self._centre[rows[-1]]
        deviations = regressors - centre
        spread = variance * deviations
        move = spread.copy()
        move[:, 0] -= np.add.reduce(spread * centre, axis=1)
        means = np.add.reduce(self._batch[rows] + shift, axis=0)
        logit = min(max(float(np.add.reduce(means * regressors)), -LOGIT_MAX), LOGIT_MAX)
        chance = 1.0 / (1.0 + math.exp(-logit))
        weight = chance * (1.0 - chance)
        damping = 1.0 / (1.0 + weight * float(np.add.reduce(spread * deviations, axis=None)))
        return _Step(rows, shift, variance, spread, move, chance, weight, damping)

    def _forget(self, rows: Indexes, at: float) -> tuple[Floats, Floats]:
        """Shifts and variances of these nodes as of `at`: precisions decay towards the prior's, and means with them."""
        shift, variance, prior = self._shift[rows], self._variance[rows], self._prior[rows]
        kept = np.exp2(-np.maximum(at - self._at[rows], 0.0) / self._half_life)[:, None]
        total = kept * prior + (1.0 - kept) * variance
        total[prior == 0.0] = 1.0  # what is fixed stays fixed
        return kept * shift * prior / total, variance * prior / total

    def _keep(self, step: _Step, at: float) -> None:
        self._shift[step.rows] = step.shift
        self._variance[step.rows] = step.variance
        self._at[step.rows] = np.maximum(self._at[step.rows], at)

    def _rows(self, action: str) -> Indexes:
        if action not in self._rows_above:
            path = ancestry(action)
            for node in path:
                if node not in self._row_of:
                    self._add(node)
            self._rows_above[action] = np.array([self._row_of[node] for node in path], dtype=np.int64)
        return self._rows_above[action]

    def _add(self, node: str) -> None:
        """A node no training row belonged to: starts where the node above it stands, with wide uncertainty."""
        self._row_of[node] = len(self._nodes)
        self._nodes.append(node)
        variances = _wide(self._model, node)
        self._batch = np.vstack([self._batch, np.zeros_like(variances)])
        self._prior = np.vstack([self._prior, variances])
        self._shift = np.vstack([self._shift, np.zeros_like(variances)])
        self._variance = np.vstack([self._variance, variances])
        self._centre = np.vstack([self._centre, np.zeros_like(variances)])
        self._at = np.append(self._at, -math.inf)


@lru_cache(maxsize=3)  # a serving process opens states of its model, shadow and challenger every second or so
def _opened(model: PropensityModel) -> Floats:
    """The batch model's variances, open to news: as if each node had had at most BATCH_ROWS_MAX rows, and a wide prior.

    What the batch model holds fixed stays fixed: bands below everything. A node that divides no further than the one
    above it has no coefficients there, but may deviate here like a new one: the next new action may tell the two apart.
    """
    nodes = model.posterior.nodes
    rows = dict.fromkeys(nodes, 0)
    for action, count in model.evidence.items():
        for node in ancestry(action):
            rows[node] += count
    opened = np.empty_like(model.posterior.variances)
    for row, node in enumerate(nodes):
        variances, wide = model.posterior.variances[row], _wide(model, node)
        told = _precision(variances)  # by the batch model's prior and its rows
        if node != EVERYTHING:
            told = np.maximum(told - _precision(model.deviation_variances(node)), 0.0)
        opened[row] = wide / (1.0 + wide * told * min(1.0, BATCH_ROWS_MAX / max(rows[node], 1)))
    opened.setflags(write=False)
    return opened


def _precision(variances: Floats) -> Floats:
    precision: Floats = np.divide(1.0, variances, out=np.zeros_like(variances), where=variances > 0.0)
    return precision


def _wide(model: PropensityModel, node: str) -> Floats:
    """float64[width]: variances before any row was seen."""
    variances = np.full(model.width, SLOPE_SD_MIN**2)
    variances[0] = INTERCEPT_SD_MIN**2
    if node == EVERYTHING:
        return variances
    variances[model.is_band] = 0.0
    np.maximum(variances, model.deviation_variances(node), out=variances)
    return variances
