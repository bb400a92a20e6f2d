"""Scores: propensities of the customers in a table, as CSV or Parquet.

The numbers are those that a serving process would compute from the same values, bit for bit. A row of the table gets
one line for its action, or one for every action of the model when the table names none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from decisioning.errors import TableFaulty
from decisioning.history.training import Candidates
from models import PropensityModel
from models.incremental import NOTHING

_FORMATS = {".csv": "(FORMAT csv, HEADER)", ".parquet": "(FORMAT parquet, COMPRESSION zstd)"}
Texts = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Scored:
    """One line for each scored pair of customer and action."""

    row: NDArray[np.int64]  # of the table, from 1, the line of names not counted
    customer: Texts
    action: Texts
    propensity: NDArray[np.float64]
    uplift: NDArray[np.float64] | None  # what the action adds over nothing; None where the model has learnt none


def score(model: PropensityModel, candidates: Candidates, *, barred: Mapping[str, frozenset[str]]) -> Scored:
    """Score each row for its action, or for all the model knows; rows of nothing or of no action are left out."""
    count = len(candidates.customer_ids)
    if candidates.actions is None:
        keys = list(model.actions)
        rows, positions = np.repeat(np.arange(count), len(keys)), np.tile(np.arange(len(keys)), count)
    else:
        keys = sorted({key for key in candidates.actions if key and key != NOTHING})
        position = {key: index for index, key in enumerate(keys)}
        of_row = np.array([position.get(key or "", -1) for key in candidates.actions], dtype=np.int64)
        rows = np.flatnonzero(of_row >= 0)
        positions = of_row[rows]
    columns = {path: _taken(cells, rows) for path, cells in candidates.columns.items()}
    paired = model.paired(keys, barred=barred)
    uplifts = paired.uplifts_of_table(candidates.columns)
    return Scored(
        row=rows + 1,
        customer=_taken(candidates.customer_ids, rows),
        action=np.array(keys, dtype=np.object_)[positions],
        propensity=paired.propensities_of_table(columns, positions),
        uplift=None if uplifts is None else uplifts[rows, positions],
    )


def write_scores(scored: Scored, path: Path) -> None:
    """Write a CSV or Parquet file, in one step. Raises TableFaulty for another ending or a folder that is not there."""
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise TableFaulty(f"{path}: unknown format. The name must end in {' or '.join(_FORMATS)}.")
    if not path.parent.is_dir():
        raise TableFaulty(f"{path}: there is no directory {path.parent}.")
    columns = {"row": scored.row, "customer": scored.customer, "action": scored.action, "propensity": scored.propensity}
    if scored.uplift is not None:
        columns["uplift"] = scored.uplift
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with duckdb.connect() as connection:
            connection.register("scored", columns)
            names = "row, customer::VARCHAR AS customer, action::VARCHAR AS action, * EXCLUDE (row, customer, action)"
            quoted = str(unfinished).replace("'", "''")
            connection.execute(f"COPY (SELECT {names} FROM scored) TO '{quoted}' {form}")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _taken(cells: Sequence[object], rows: NDArray[np.int64]) -> Texts:
    values = np.empty(len(cells), dtype=np.object_)
    values[:] = cells
    return values[rows]
