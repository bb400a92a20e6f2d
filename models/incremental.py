"""Incremental value: what an action adds over doing nothing, for one customer and many actions.

Serving side: numpy only. Three forms, from careful to bold. *constant*: every action adds its mean effect, the same for
all customers; the data could not show more. *ordered*: a forest over the customer and the action's mean effect; how
much an action adds depends on the customer, which action adds most does not. *free*: the forest also knows the actions
apart, so that customers may differ in what suits them. train_incremental.py chooses the form and learns it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidTable
from models.features import Floats, Indexes
from models.forest import Forest

NOTHING = "nothing"  # in place of an action's key, where by design nothing was done
DECIMALS = 9  # uplifts are rounded to this before anything is ranked, as propensities are
UNITS = ("label", "value")
OUTCOME_MAX = 1e12  # in any currency a typing error, and sums of squares of much larger ones are no numbers
MEAN_SHARE = 0.01  # of an action's mean effect in each personal uplift: where trees see no difference, it decides
CHUNK_ROWS = 256  # of a table at once: rows x codes x trees are held

Masks = NDArray[np.uint32]


class IncrementalModel:
    """Uplifts over nothing, in chances of a positive label or in money; immutable by convention.

    The forest, where there is one, reads the encoded columns of a customer and behind them the code of an action, and
    predicts the outcome; the code of nothing is all zeros. The difference of the two predictions, times `scale`, is the
    uplift, but for what `blended` does to it.
    """

    __slots__ = (
        "_code_masks", "_code_of_node", "_column", "_row_of", "_ruled_out", "codes", "effects",
        "forest", "harmless", "nodes", "nothing", "scale", "unit", "width",
    )  # fmt: skip

    def __init__(
        self,
        unit: str,
        width: int,
        nodes: Sequence[str],
        effects: Floats,
        *,
        nothing: float,
        codes: Floats | None = None,
        forest: Forest | None = None,
        scale: float = 1.0,
        harmless: bool = True,
    ) -> None:
        """unit is one of UNITS, width that of the encoder.

        nodes    keys of the hierarchy, from "" to the actions in training
        effects  float64[nodes]     mean effect over nothing
        nothing  mean outcome of doing nothing
        codes    float64[nodes, c]  what the forest reads of an action
        Raises InvalidTable for numbers that cannot be.
        """
        self.unit, self.width, self.nodes = unit, width, tuple(nodes)
        self.effects, self.nothing = effects, nothing
        self.codes = np.zeros((len(self.nodes), 0)) if codes is None else codes
        self.forest, self.scale, self.harmless = forest, scale, harmless
        self._refuse_misfits()
        self._row_of = {node: row for row, node in enumerate(self.nodes)}
        if forest is not None:
            self._prepare(forest)

    @property
    def form(self) -> str:
        """constant, ordered or free."""
        if self.forest is None:
            return "constant"
        return "ordered" if self.codes.shape[1] == 1 else "free"

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions in training."""
        return tuple(node for node in self.nodes if node.count("/") == 2)

    @property
    def best_action(self) -> str:
        """The single action that adds most, were everybody to get the same."""
        return max(self.actions, key=lambda action: self.effects[self._row_of[action]])

    @property
    def columns(self) -> Indexes:
        """Encoded columns of a customer that decide, ascending."""
        if self.forest is None:
            return np.zeros(0, dtype=np.int64)
        read = self.forest.columns
        return read[read < self.width]

    def rows_for(self, action_keys: Sequence[str], *, constant: Collection[str] = ()) -> Indexes:
        """int64[n] for `uplifts`: each action's row, or that of its group, issue or everything when it is new.

        constant  actions for which nothing about the customer may be used: they add their mean effect
        """
        rows = (self._row_for(key) + len(self.nodes) * (key in constant) for key in action_keys)
        return np.fromiter(rows, dtype=np.int64, count=len(action_keys))

    def uplifts(self, encoded: Floats, rows: Indexes) -> Floats:
        """float64[len(rows)] for float64[width] of one customer, rounded."""
        uplifts: Floats = self.uplifts_of_table(encoded[None, :], rows)[0]
        return uplifts

    def uplifts_of_table(self, encoded: Floats, rows: Indexes) -> Floats:
        """float64[n, len(rows)] for float64[n, width]; each row equal to `uplifts` of its customer, bit by bit."""
        constant = np.broadcast_to(self.effects, (len(encoded), len(self.nodes)))
        if self.forest is None:
            personal = constant
        else:
            outcomes = self._outcomes(encoded)
            differences = self.scale * (outcomes[:, 1:] - outcomes[:, :1]).take(self._code_of_node, axis=1)
            personal = blended(differences, self.effects, harmless=self.harmless)
        both: Floats = np.hstack([personal, constant]).take(rows, axis=1)
        return np.round(both, DECIMALS)

    def outcomes_of_nothing(self, encoded: Floats) -> Floats:
        """float64[n]: what is expected when nothing is done."""
        return np.full(len(encoded), self.nothing) if self.forest is None else self._outcomes(encoded)[:, 0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For an artifact, beside `described`."""
        arrays: dict[str, NDArray[Any]] = {"effects": self.effects, "codes": self.codes}
        if self.forest is not None:
            arrays |= {f"forest.{name}": array for name, array in self.forest.arrays().items()}
        return arrays

    def described(self) -> dict[str, Any]:
        """What decides beside the arrays, as plain data."""
        return {"unit": self.unit, "width": self.width, "nodes": list(self.nodes)} | {
            "nothing": self.nothing,
            "scale": self.scale,
            "harmless": self.harmless,
        }

    @classmethod
    def from_arrays(cls, described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> IncrementalModel:
        """The way back from `described` and `arrays`; raises InvalidTable, KeyError or TypeError for damaged ones."""
        forest = {name.removeprefix("forest."): array for name, array in arrays.items() if name.startswith("forest.")}
        return cls(
            described["unit"],
            described["width"],
            described["nodes"],
            arrays["effects"],
            nothing=float(described["nothing"]),
            codes=arrays["codes"],
            forest=Forest.from_arrays(forest) if forest else None,
            scale=float(described["scale"]),
            harmless=bool(described["harmless"]),
        )

    def _outcomes(self, encoded: Floats) -> Floats:
        """float64[n, 1 + distinct codes]: expected outcome of nothing, then of each distinct code.

        The tests on the customer are made once, those on the code were made when the model was built: what remains for
        each code is one OR of the leaves that they rule out.
        """
        forest = self.forest
        assert forest is not None  # asked for only where there is one
        outcomes = np.empty((len(encoded), len(self._code_masks)))
        trees = np.arange(len(forest.leaf_values))
        for start in range(0, len(encoded), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            fails = encoded[rows].take(self._column, axis=1) > forest.threshold
            customer_masks = np.bitwise_or.reduce(self._ruled_out * fails, axis=2)
            ruled_out = customer_masks[:, None, :] | self._code_masks
            lowest = ~ruled_out & (ruled_out + np.uint32(1))
            leaves = np.bitwise_count(lowest - np.uint32(1))
            outcomes[rows] = np.add.reduce(forest.leaf_values[trees, leaves], axis=2) - forest.centre
        return outcomes

    def _prepare(self, forest: Forest) -> None:
        """The leaves that each code rules out in each tree; codes between the same thresholds are one."""
        is_code = forest.feature >= self.width
        self._column: Indexes = np.where(is_code, 0, forest.feature)
        self._ruled_out: Masks = np.where(is_code, np.uint32(0), forest.ruled_out)
        codes = np.vstack([np.zeros(self.codes.shape[1]), self.codes])
        fails = codes.take(np.where(is_code, forest.feature - self.width, 0), axis=1) > forest.threshold
        masks = np.bitwise_or.reduce(np.where(is_code, forest.ruled_out, np.uint32(0)) * fails, axis=2)
        distinct, code_of_node = np.unique(masks[1:], axis=0, return_inverse=True)
        self._code_masks: Masks = np.vstack([masks[:1], distinct])
        self._code_of_node: Indexes = code_of_node.ravel()

    def _row_for(self, key: str) -> int:
        while key not in self._row_of:
            key, _, _ = key.rpartition("/")
        return self._row_of[key]

    def _refuse_misfits(self) -> None:
        if self.unit not in UNITS:
            raise InvalidTable(f"unit {self.unit!r} of the uplifts is unknown. Known: {', '.join(UNITS)}.")
        if "" not in self.nodes or len(set(self.nodes)) < len(self.nodes) or not self.actions:
            raise InvalidTable('the nodes of the uplifts must be distinct, with "" and an action among them')
        if self.effects.dtype != np.float64 or self.effects.shape != (len(self.nodes),):
            raise InvalidTable(f"{self.effects.shape} effects do not fit {len(self.nodes)} nodes")
        if self.codes.dtype != np.float64 or self.codes.ndim != 2 or len(self.codes) != len(self.nodes):
            raise InvalidTable(f"codes {self.codes.shape} do not fit {len(self.nodes)} nodes")
        if not (np.isfinite(self.effects).all() and np.isfinite(self.codes).all()):
            raise InvalidTable("an effect or a code of the uplifts is not finite")
        if not np.isfinite([self.scale, self.nothing]).all():
            raise InvalidTable("the scale of the uplifts, or the mean outcome of nothing, is not finite")
        if self.forest is not None and self.forest.feature.max(initial=0) >= self.width + self.codes.shape[1]:
            raise InvalidTable("the forest of the uplifts reads a column beyond the encoded ones and the code")


def blended(uplifts: Floats, effects: Floats, *, harmless: bool) -> Floats:
    """float64[n, k]: personal uplifts with a grain of the mean effects.

    uplifts   float64[n, k]  as predicted
    effects   float64[k]     mean effects
    harmless  nobody was shown to lose by an action that is good on average: such uplifts are not below zero
    """
    least = np.where(effects > 0.0, 0.0, -np.inf) if harmless else -np.inf
    mixed: Floats = (1.0 - MEAN_SHARE) * np.maximum(uplifts, least) + MEAN_SHARE * effects
    return mixed
