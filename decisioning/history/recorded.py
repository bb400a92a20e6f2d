"""Recorded history as a training table: what draws showed, to whom and in what moment, and what was answered.

Labels come from learning/labels.py and values from the code that serves, so a model learns here what it will be asked
there. reopened.py opens the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from decisioning.catalog.strategy import Strategy
from decisioning.errors import TableFaulty
from decisioning.history.reader import open_history
from decisioning.history.reopened import CLOSED, FOREIGN, Record, Reopened, Rows, counted, pages_of
from decisioning.history.training import TrainingTable
from decisioning.learning.labels import Label, Trial, reading_of, trials_of
from decisioning.store.protocol import Store

UNSEEN = "not seen"
FOR_MACHINES = "drawn for what fetched a mail's picture and was no person"
# A response to a render belongs to the draw that it renders, whatever channel it came through.
_ANSWERED = """
CREATE TEMP TABLE answered AS
SELECT coalesce(p.lease_of, p.decision_id) AS decision_id, p.action AS action,
       list(DISTINCT r.outcome ORDER BY r.outcome) AS outcomes, sum(r.value) AS value
FROM responses r JOIN placements p USING (decision_id, placement, action)
WHERE p.outcome = 'offer' GROUP BY ALL
"""
_WAS_ANSWERED = "decision_id IN (SELECT decision_id FROM answered)"
_DRAWN = """
SELECT coalesce(client_class, 'person') = 'person' AS for_person, count(*) FROM placements
WHERE outcome = 'offer' AND lease_of IS NULL AND NOT coalesce(degraded, false) GROUP BY ALL
"""


class Answer(NamedTuple):
    """All that came of one trial."""

    outcomes: frozenset[str]
    value: float | None


async def read_recorded(
    history_dir: Path, strategy: Strategy, store: Store, progress: Callable[[int, int], None]
) -> TrainingTable:
    """Every trial in history that somebody saw, labelled, with the features it had then.

    strategy says what is a feature, and how responses to an action are to be read. Raises TableFaulty when nothing
    there was seen.
    """
    rows, reopened, done_count = Rows(), Reopened(strategy, store), 0
    with closing(open_history(history_dir)) as history:
        answers = _answers(history)
        answered_count = counted(history, f"SELECT count(*) FROM decisions WHERE {_WAS_ANSWERED}")
        drawn_counts = dict(history.execute(_DRAWN).fetchall())
        for page in pages_of(history, _WAS_ANSWERED):
            await reopened.fetch(page)
            for record in page:
                _add(record, answers, reopened, strategy, rows)
            done_count += len(page)
            progress(done_count, answered_count)
    rows.excluded[FOR_MACHINES] = drawn_counts.get(False, 0)
    rows.excluded[UNSEEN] = (
        drawn_counts.get(True, 0) - len(rows.actions) - rows.excluded[CLOSED] - rows.excluded[FOREIGN]
    )
    if not rows.actions:
        raise TableFaulty(f"{history_dir}: nothing was drawn there that somebody saw. Does the worker write there?")
    return rows.table(strategy)


def _answers(history: duckdb.DuckDBPyConnection) -> dict[Trial, Answer]:
    history.execute(_ANSWERED)
    found = history.execute("SELECT decision_id, action, outcomes, value FROM answered").fetchall()
    return {Trial(drawn, action): Answer(frozenset(outcomes), value) for drawn, action, outcomes, value in found}


def _add(record: Record, answers: Mapping[Trial, Answer], reopened: Reopened, strategy: Strategy, rows: Rows) -> None:
    """The record's trials as rows."""
    for trial, placed in trials_of(record):
        answer, index = answers.get(trial), strategy.action_index.get(trial.action)
        if answer is None:
            continue
        if index is None:
            rows.excluded[FOREIGN] += 1
            continue
        label: Label | None = reading_of(answer.outcomes, strategy.actions[index].behaviour).label
        if label is None:
            continue
        values = reopened.values(record)
        if values is None:
            rows.excluded[CLOSED] += 1
            continue
        probability = _probability(record, placed)
        rows.add(record, values, action=trial.action, label=label, worth=answer.value, probability=probability)


def _probability(record: Record, placed: Mapping[str, Any]) -> float | None:
    """With which the draw came out like this: that of the person's arms, times that of the draw given them."""
    arm, selection = record.get("arm_probability"), placed["selection_probability"]
    return None if arm is None or selection is None else float(arm * selection)
