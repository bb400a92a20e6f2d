"""Training: from past contacts, in a table or in the installation's own history, to a model artifact.

The only caller of the training half of `models`. What a strategy bars for an action's purpose is no feature of that
action: its values are masked, in training as in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from decisioning.catalog.strategy import Strategy
from decisioning.errors import ModelRefused
from decisioning.history.explored import read_explored
from decisioning.history.kinds import ByStrategy
from decisioning.history.mapping import read_mapping
from decisioning.history.recorded import read_recorded
from decisioning.history.training import TrainingTable, read_training
from decisioning.nouns import counted
from decisioning.scoring import load_model
from decisioning.store.protocol import Store
from decisioning.uplifts import learn_uplifts, with_uplifts
from models import Feature, ModelError, load_report, save_artifact
from models.card import Card, as_markdown
from models.card_page import as_html
from models.drift import drift_of, profile_from
from models.propensity import NOTHING_BARRED
from models.report import TrainingReport
from models.train import TrainedModel, train
from models.train_incremental import PERSONS_MIN, TrainedIncremental

Progress = Callable[[str, int, int], None]  # what is being done, how many steps of it are done, and of how many
NAMED = 4  # things that one line about the rows repeats


@dataclass(frozen=True, slots=True)
class Training:
    """A model that was written, and what is to be said of it."""

    version: str
    folder: Path
    report: TrainingReport
    told: tuple[str, ...]  # about the rows it learnt from, in sentences


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be learnt how, beside the rows."""

    validation: str = "random"  # or "time": on whom the model will be used
    known_before: frozenset[str] = frozenset()  # features that rank the label alone and are known before the decision
    source: str = "the history"  # where the rows come from, in messages
    previous: Path | None = None  # the artifact of a model that this one may replace, to compare with


def train_model(
    history: Sequence[Path],
    mapping: Path,
    out: Path,
    progress: Progress,
    *,
    strategy: Strategy | None = None,
    previous: Path | None = None,
) -> Training:
    """Fit a model on the tables of a history and write its artifact below `out`.

    With a strategy, values are typed and checked as its decisions do, and its actions must occur; without one, kinds
    are as the mapping states or the values look. previous is the artifact of a model to compare with. Raises
    MappingFaulty, TableFaulty, or ModelRefused when the table cannot carry a model or leaks its label.
    """
    progress("reading", 0, 1)
    columns = read_mapping(mapping)
    table = read_training(history, columns, ByStrategy.of(strategy) if strategy else None)
    terms = Terms(columns.validation, columns.known_before, str(mapping), previous)
    return fit(table, terms, out, progress, strategy=strategy)


async def train_recorded(
    history_dir: Path,
    strategy: Strategy,
    store: Store,
    out: Path,
    progress: Progress,
    *,
    previous: Path | None = None,
) -> Training:
    """Fit a model on the installation's own history and write its artifact below `out`.

    Only what was known at a decision is in its record, so nothing there can leak; and the model will be used on what
    comes next, so it is chosen by how well it foresees. Raises TableFaulty or ModelRefused.
    """
    table = await read_recorded(history_dir, strategy, store, partial(progress, "reading answers"))
    explored = await read_explored(history_dir, strategy, store, partial(progress, "reading draws that explored"))
    terms = Terms("time", frozenset(table.kinds), str(history_dir), previous)
    return fit(table, terms, out, progress, strategy=strategy, randomised=explored)


def fit(
    table: TrainingTable,
    terms: Terms,
    out: Path,
    progress: Progress,
    *,
    strategy: Strategy | None = None,
    randomised: TrainingTable | None = None,
) -> Training:
    """Fit a model on labelled contacts and write its artifact, report and card below `out`.

    randomised  rows that say what acting adds, when they are not among those of the table. Raises ModelRefused.
    """
    shown = table.where(~table.is_nothing) if table.is_nothing.any() else table
    if strategy:
        _refuse_foreign(shown, strategy, terms)
    features, barred = _features(shown, strategy), strategy.barred if strategy else NOTHING_BARRED
    try:
        trained = train(
            shown.columns,
            actions=shown.actions,
            labels=shown.labels,
            features=features,
            order=shown.order,
            clusters=shown.persons,
            known_before=terms.known_before,
            validation=terms.validation,
            barred=barred,
            progress=progress,
        )
        uplifts = learn_uplifts(trained.model, randomised or table, progress, in_money=strategy is None)
        model = with_uplifts(trained.model, uplifts.model) if uplifts else trained.model
        told = tuple(_told(table, strategy, uplifts))
        report = _compared(trained, shown, terms.previous, barred) if terms.previous else trained.report
        card = Card(model.version, f"{datetime.now(UTC):%Y-%m-%d}", features, told, report)
        saved = {**asdict(report), "incremental": uplifts and asdict(uplifts.report)}
        save_artifact(model, out, report=saved, pages={"card.md": as_markdown(card), "card.html": as_html(card)})
    except ModelError as error:
        raise ModelRefused(f"{terms.source}: {error}") from error
    return Training(model.version, out / model.version, report, told)


def _compared(
    trained: TrainedModel, table: TrainingTable, previous: Path, barred: Mapping[str, frozenset[str]]
) -> TrainingReport:
    """The report with what has changed since a previous model, which is scored as it would be served today."""
    drift = drift_of(
        load_model(previous),
        profile_from(load_report(previous)),
        table.columns,
        actions=table.actions,
        labels=table.labels.astype(np.float64),
        chances=trained.chances,
        clusters=table.persons,
        barred=barred,
    )
    return replace(trained.report, drift=drift)


def _features(table: TrainingTable, strategy: Strategy | None) -> list[Feature]:
    """The table's columns, without those that are barred for every action in it."""
    actions, barred = set(table.actions), barred_actions(table, strategy)
    return [Feature(path, kind) for path, kind in table.kinds.items() if set(barred.get(path, ())) != actions]


def _refuse_foreign(table: TrainingTable, strategy: Strategy, terms: Terms) -> None:
    if not set(table.actions) & strategy.action_index.keys():
        found = ", ".join(sorted(set(table.actions))[:NAMED])
        raise ModelRefused(f"{terms.source}: no action of the strategy occurs in the table. It has: {found}.")


def _told(table: TrainingTable, strategy: Strategy | None, uplifts: TrainedIncremental | None) -> Iterator[str]:
    """What happened to the rows and values on their way to the model."""
    positives, nothing_count = int(table.labels.sum()), int(table.is_nothing.sum())
    yield (
        f"{counted(len(table.labels), 'row')} of {counted(len(set(table.persons)), 'person')}: {positives:,} positive, "
        f"{len(table.labels) - positives:,} negative" + (f"; {nothing_count:,} of nothing" if nothing_count else "")
    )
    if table.excluded:
        counts = ", ".join(f"{count:,} {label or 'incomplete'}" for label, count in table.excluded.items())
        yield f"left out: {counts}"
    if table.invalid:
        counts = ", ".join(f"{path} {count:,}" for path, count in table.invalid.items())
        yield f"values that are none of their attribute's, read as missing: {counts}"
    for path, actions in barred_actions(table, strategy).items():
        more = f" and {len(actions) - NAMED} more" if len(actions) > NAMED else ""
        yield f"{path} is no feature of {', '.join(actions[:NAMED])}{more}: their purpose does not allow it"
    if uplifts:
        found = uplifts.report
        yield f"uplift over nothing, in {found.unit}s, from {found.rows:,} rows: {found.form}. {found.reason}"
    elif nothing_count:
        needed = f"logging probabilities, and {PERSONS_MIN} persons with nothing and with an action"
        yield f"no uplift was learnt: it takes {needed}"


def barred_actions(table: TrainingTable, strategy: Strategy | None) -> dict[str, list[str]]:
    """By attribute of the table, the actions for whose purpose it may not be used."""
    barred: dict[str, list[str]] = {}
    for action in sorted(set(table.actions)):
        for path in sorted((strategy.barred if strategy else {}).get(action, frozenset()) & table.columns.keys()):
            barred.setdefault(path, []).append(action)
    return barred
