"""Explored draws as a randomised test of every action against nothing, from which what acting adds is learnt.

A draw that explores knows the probability of what it chose, *nothing* included. What followed is what the person did in
the days after it, in any channel, for any action and without a decision too: whoever would have come anyway comes in
both. A holdout is no part of it: people who never get anything differ from the others by more than one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from decisioning.catalog.schema import DAY_MS
from decisioning.catalog.strategy import Strategy
from decisioning.history.reader import open_history
from decisioning.history.reopened import CLOSED, FOREIGN, Record, Reopened, Rows, counted, pages_of
from decisioning.history.training import TrainingTable
from decisioning.learning.labels import UNDECIDING
from decisioning.store.protocol import Store
from models.incremental import NOTHING

WINDOW_DAYS = 7
# Draws of the random arm never choose nothing; younger draws may still be answered; what was drawn for a machine may
# have been seen by nobody, and a person's opening after it draws the same again.
_EXPLORED = f"""
CREATE TEMP TABLE explored AS
SELECT d.decision_id, d.placement, d.rank, count(w.person_key) > 0 AS came, sum(w.value) AS value
FROM placements d LEFT JOIN won w
  ON w.person_key = d.person_key AND w.at_ms > d.at_ms AND w.at_ms <= d.at_ms + {WINDOW_DAYS * DAY_MS}
WHERE d.lease_of IS NULL AND NOT coalesce(d.degraded, false) AND NOT coalesce(d.holdout, false)
  AND d.outcome IN ('offer', 'nothing') AND d.selection_probability < 1
  AND NOT contains(coalesce(d.arms, ''), '"random"') AND coalesce(d.client_class, 'person') = 'person'
  AND d.at_ms + {WINDOW_DAYS * DAY_MS} <= (SELECT max(at_ms) FROM decisions)
GROUP BY ALL
"""
_WON = (
    "CREATE TEMP TABLE won AS SELECT r.person_key, r.at_ms, r.value FROM responses r JOIN good USING (action, outcome)"
)
_WAS_EXPLORED = "decision_id IN (SELECT decision_id FROM explored)"


class Draw(NamedTuple):
    """One draw of a decision."""

    decision_id: str
    placement: str
    rank: int


class Followed(NamedTuple):
    """What the person did in the days after a draw."""

    came: bool  # a positive response to anything
    value: float | None


async def read_explored(
    history_dir: Path, strategy: Strategy, store: Store, progress: Callable[[int, int], None]
) -> TrainingTable | None:
    """Every explored draw whose days are over, labelled by whether a positive response followed; None without any.

    strategy says what is a feature, and which responses are positive.
    """
    rows, reopened, done_count = Rows(), Reopened(strategy, store), 0
    with closing(open_history(history_dir)) as history:
        _find_explored(history, strategy)
        found = history.execute("SELECT decision_id, placement, rank, came, value FROM explored").fetchall()
        followed = {Draw(*row[:3]): Followed(*row[3:]) for row in found}
        decision_count = counted(history, "SELECT count(DISTINCT decision_id) FROM explored")
        for page in pages_of(history, _WAS_EXPLORED):
            await reopened.fetch(page)
            for record in page:
                _add(record, followed, reopened.values(record), strategy, rows)
            done_count += len(page)
            progress(done_count, decision_count)
    return rows.table(strategy) if rows.actions else None


def _add(
    record: Record, followed: Mapping[Draw, Followed], values: dict[str, Any] | None, strategy: Strategy, rows: Rows
) -> None:
    """The record's explored draws as rows."""
    for placed in record["placements"]:
        found = followed.get(Draw(record["decision_id"], placed["placement"], placed["rank"]))
        action = placed["action"] or NOTHING
        if found is None:
            continue
        if action != NOTHING and action not in strategy.action_index:
            rows.excluded[FOREIGN] += 1
        elif values is None:
            rows.excluded[CLOSED] += 1
        else:
            probability = placed["selection_probability"]
            rows.add(record, values, action=action, label=found.came, worth=found.value, probability=probability)


def _find_explored(history: duckdb.DuckDBPyConnection, strategy: Strategy) -> None:
    """Fill the table `explored`."""
    good = [
        (action.key, outcome)
        for action in strategy.actions
        for outcome, behaviour in action.behaviour.items()
        if behaviour == "positive" and outcome not in UNDECIDING
    ]
    history.execute("CREATE TEMP TABLE good (action VARCHAR, outcome VARCHAR)")
    if good:
        history.executemany("INSERT INTO good VALUES (?, ?)", good)
    history.execute(_WON)
    history.execute(_EXPLORED)
