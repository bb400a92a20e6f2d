"""Adaptive: a posterior that moves with every labelled trial.

numpy only, deterministic: the same trials in the same order give the same bits. A learner starts at a batch model's
posterior and folds trials one by one; one trial moves the coefficients of all nodes above its action at once, each as
far as it is uncertain. What was learnt fades with a half-life, back to the batch model. decisioning/learning/ decides
what a trial is and in which order they come; propensity.py serves the posterior that comes out.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactFaulty, InvalidTable
from models.features import Floats, Indexes
from models.hierarchy import EVERYTHING, ancestry
from models.propensity import LOGIT_MAX, Posterior, PropensityModel

BATCH_ROWS_MAX = 2_000  # what the batch model may weigh, in rows a node: with all 200,000 of them nothing would move
DUMP_FORMAT = 1


class Learner:
    """The state between two trials; not safe to share between threads."""

    __slots__ = (
        "_at", "_batch", "_half_life", "_model", "_nodes", "_prior", "_row_of", "_rows_above", "_shift", "_variance",
        "impressions",
    )  # fmt: skip

    def __init__(self, model: PropensityModel, *, half_life: float) -> None:
        """Starts at the model's own posterior; the unit of `half_life` is the unit of every `at`.

        Raises InvalidTable for a half-life that is not positive.
        """
        if not half_life > 0.0:
            raise InvalidTable(f"a half-life of {half_life} forgets nothing or everything; it must be positive")
        self._model = model
        self._half_life = half_life
        self._nodes = list(model.posterior.nodes)
        self._row_of = {node: row for row, node in enumerate(self._nodes)}
        self._batch = model.posterior.means.copy()
        self._prior = _bounded_evidence(model)  # variances at which the learner starts, and to which it forgets
        self._shift = np.zeros_like(self._batch)  # of the means, away from the batch model
        self._variance = self._prior.copy()
        self._at = np.full(len(self._nodes), -math.inf)  # up to when each node has forgotten
        self._rows_above: dict[str, Indexes] = {}
        self.impressions: dict[str, int] = {}

    def fold(self, regressors: Floats, action: str, label: bool, at: float) -> None:
        """Learn from one trial: `action` was seen by a person with these regressors and drew this response.

        A step of Bayes' rule for a logistic regression whose coefficients are independent normals: the gradient times
        each coefficient's variance, damped by how uncertain the logit is as a whole.
        Raises InvalidTable for a key that is not issue/group/action.
        """
        rows = self._rows(action)
        shift, variance = self._forget(rows, at)
        spread = variance * regressors
        chance = self._chance(rows, shift, regressors)
        weight = chance * (1.0 - chance)
        damping = 1.0 / (1.0 + weight * float(np.add.reduce(spread * regressors, axis=None)))
        shift += damping * (float(label) - chance) * spread
        variance -= weight * damping * spread * spread
        self._keep(rows, shift, variance, at)
        self.impressions[action] = self.impressions.get(action, 0) + 1

    def revise(self, regressors: Floats, action: str, at: float) -> None:
        """Take back a negative folded before: a positive followed it after all.

        Of the two updates only the label differs, so the means move by one full label; what the trial said about
        variances stays. What the negative has faded since is not made good: delays are short beside half-lives.
        """
        rows = self._rows(action)
        shift, variance = self._forget(rows, at)
        spread = variance * regressors
        chance = self._chance(rows, shift, regressors)
        weight = chance * (1.0 - chance)
        damping = 1.0 / (1.0 + weight * float(np.add.reduce(spread * regressors, axis=None)))
        shift += damping * spread
        self._keep(rows, shift, variance, at)

    def posterior(self, at: float) -> Posterior:
        """What is known at this time, new actions included; the learner itself stays as it is."""
        shift, variance = self._forget(np.arange(len(self._nodes)), at)
        return Posterior(tuple(self._nodes), self._batch + shift, variance)

    def dump(self) -> bytes:
        """Everything a later process needs to go on, bit for bit; no trial can be read from it."""
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
        )
        return file.getvalue()

    @classmethod
    def load(cls, model: PropensityModel, dumped: bytes) -> Learner:
        """The learner that was dumped. Raises ArtifactFaulty for other bytes, or another model's."""
        try:
            with np.load(io.BytesIO(dumped), allow_pickle=False) as arrays:
                about = json.loads(arrays["about"].tobytes())
                state = {name: arrays[name] for name in ("shift", "variance", "at")}
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
        shapes = {"shift": self._shift.shape, "variance": self._variance.shape, "at": self._at.shape}
        if nodes != self._nodes or any(state[name].shape != shape for name, shape in shapes.items()):
            raise ArtifactFaulty("a learner's dump has other nodes than its model, or arrays of another shape")
        self._shift, self._variance, self._at = state["shift"], state["variance"], state["at"]

    def _chance(self, rows: Indexes, shift: Floats, regressors: Floats) -> float:
        means = np.add.reduce(self._batch[rows] + shift, axis=0)
        logit = float(np.add.reduce(means * regressors))
        return 1.0 / (1.0 + math.exp(-min(max(logit, -LOGIT_MAX), LOGIT_MAX)))

    def _forget(self, rows: Indexes, at: float) -> tuple[Floats, Floats]:
        """Shifts and variances of these nodes as of `at`: precisions decay towards the prior's, and means with them."""
        shift, variance, prior = self._shift[rows], self._variance[rows], self._prior[rows]
        kept = np.exp2(-np.maximum(at - self._at[rows], 0.0) / self._half_life)[:, None]
        total = kept * prior + (1.0 - kept) * variance
        total[prior == 0.0] = 1.0  # what is fixed stays fixed
        return kept * shift * prior / total, variance * prior / total

    def _keep(self, rows: Indexes, shift: Floats, variance: Floats, at: float) -> None:
        self._shift[rows] = shift
        self._variance[rows] = variance
        self._at[rows] = np.maximum(self._at[rows], at)

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
        variances = self._model.deviation_variances(node)
        self._batch = np.vstack([self._batch, np.zeros_like(variances)])
        self._prior = np.vstack([self._prior, variances])
        self._shift = np.vstack([self._shift, np.zeros_like(variances)])
        self._variance = np.vstack([self._variance, variances])
        self._at = np.append(self._at, -math.inf)


def _bounded_evidence(model: PropensityModel) -> Floats:
    """The batch model's variances as if each node had had at most BATCH_ROWS_MAX training rows."""
    nodes = model.posterior.nodes
    rows = dict.fromkeys(nodes, 0)
    for action, count in model.evidence.items():
        for node in ancestry(action):
            rows[node] += count
    inflation = np.array([max(1.0, rows[node] / BATCH_ROWS_MAX) for node in nodes])
    variances: Floats = model.posterior.variances * inflation[:, None]
    for row, node in enumerate(nodes):
        if node != EVERYTHING:
            np.minimum(variances[row], model.deviation_variances(node), out=variances[row])
    return variances
