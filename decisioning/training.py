"""Training: from past contacts, in a table or in the installation's own history, to a model artifact.

The only caller of the training half of `models`. What a strategy bars for an action's purpose is no feature of that
action: its values are masked, in training as in serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from decisioning.catalog.strategy import Strategy
from decisioning.errors import ModelRefused
from decisioning.history.kinds import ByStrategy
from decisioning.history.mapping import read_mapping
from decisioning.history.training import TrainingTable, read_training
from models import Feature, ModelError, save_artifact
from models.report import TrainingReport
from models.train import train

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


def train_model(
    history: Sequence[Path], mapping: Path, out: Path, progress: Progress, *, strategy: Strategy | None = None
) -> Training:
    """Fit a model on the tables of a history and write its artifact below `out`.

    With a strategy, values are typed and checked as its decisions do, and its actions must occur; without one, kinds
    are as the mapping states or the values look. Raises MappingFaulty, TableFaulty, or ModelRefused when the table
    cannot carry a model or leaks its label.
    """
    progress("reading", 0, 1)
    columns = read_mapping(mapping)
    table = read_training(history, columns, ByStrategy.of(strategy) if strategy else None)
    terms = Terms(columns.validation, columns.known_before, str(mapping))
    return fit(table, terms, out, progress, strategy=strategy)


def fit(
    table: TrainingTable, terms: Terms, out: Path, progress: Progress, *, strategy: Strategy | None = None
) -> Training:
    """Fit a model on labelled contacts and write its artifact below `out`. Raises ModelRefused."""
    shown = table.where(~table.is_nothing) if table.is_nothing.any() else table
    all_actions = set(shown.actions)
    barred_for_all = {path for path, keys in barred_actions(shown, strategy).items() if set(keys) == all_actions}
    if strategy:
        _refuse_foreign(shown, strategy, terms)
    try:
        trained = train(
            shown.columns,
            actions=shown.actions,
            labels=shown.labels,
            features=[Feature(path, kind) for path, kind in shown.kinds.items() if path not in barred_for_all],
            order=shown.order,
            clusters=shown.persons,
            known_before=terms.known_before,
            progress=progress,
        )
        version = save_artifact(trained.model, out, report=asdict(trained.report))
    except ModelError as error:
        raise ModelRefused(str(error)) from error
    return Training(version, out / version, trained.report, tuple(_told(table, strategy)))


def _refuse_foreign(table: TrainingTable, strategy: Strategy, terms: Terms) -> None:
    if not set(table.actions) & strategy.action_index.keys():
        found = ", ".join(sorted(set(table.actions))[:NAMED])
        raise ModelRefused(f"{terms.source}: no action of the strategy occurs in the table. It has: {found}.")


def _told(table: TrainingTable, strategy: Strategy | None) -> Iterator[str]:
    """What happened to the rows and values on their way to the model."""
    positives, nothing_count = int(table.labels.sum()), int(table.is_nothing.sum())
    yield (
        f"{len(table.labels):,} rows of {len(set(table.persons)):,} persons: {positives:,} positive, "
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


def barred_actions(table: TrainingTable, strategy: Strategy | None) -> dict[str, list[str]]:
    """By attribute of the table, the actions for whose purpose it may not be used."""
    barred: dict[str, list[str]] = {}
    for action in sorted(set(table.actions)):
        for path in sorted((strategy.barred if strategy else {}).get(action, frozenset()) & table.columns.keys()):
            barred.setdefault(path, []).append(action)
    return barred
