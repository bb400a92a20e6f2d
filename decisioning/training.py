"""Training: from a table of past contacts to a model artifact. The only caller of the training half of `models`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from decisioning.catalog.strategy import Strategy
from decisioning.errors import ModelRefused
from decisioning.history.kinds import ByStrategy
from decisioning.history.mapping import read_mapping
from decisioning.history.training import TrainingTable, read_training
from models import Feature, ModelError, save_artifact
from models.report import TrainingReport
from models.train import train


def train_model(
    history: Path,
    mapping: Path,
    out: Path,
    progress: Callable[[str, int, int], None],
    *,
    strategy: Strategy | None = None,
) -> tuple[str, TrainingReport]:
    """Fit a model and write its artifact below `out`; returns its version and the report.

    With a strategy, values are typed and checked as its decisions do, and its actions must occur; without one, kinds
    are as the mapping states or the values look. progress is told what is being done, how many steps of it are done,
    and of how many. Raises MappingFaulty, TableFaulty, or ModelRefused when the table cannot carry a model or leaks its
    label.
    """
    progress("reading", 0, 1)
    columns = read_mapping(mapping)
    table = read_training([history], columns, ByStrategy.of(strategy) if strategy else None)
    if strategy:
        refuse_foreign(mapping, table, strategy)
    features = [Feature(path, kind) for path, kind in table.kinds.items()]
    try:
        trained = train(
            table.columns,
            actions=table.actions,
            labels=table.labels,
            features=features,
            order=table.order,
            clusters=table.persons,
            known_before=columns.known_before,
            progress=progress,
        )
        return save_artifact(trained.model, out, report=asdict(trained.report)), trained.report
    except ModelError as error:
        raise ModelRefused(str(error)) from error


def refuse_foreign(mapping: Path, table: TrainingTable, strategy: Strategy) -> None:
    """Raise ModelRefused for a table of other actions, or a feature not allowed for the purpose of some of these."""
    trained = [
        strategy.actions[strategy.action_index[key]] for key in set(table.actions) & strategy.action_index.keys()
    ]
    if not trained:
        found = ", ".join(sorted(set(table.actions))[:5])
        raise ModelRefused(f"{mapping}: no action of the strategy occurs in the table. It has: {found}.")
    purposes = {action.purpose for action in trained}
    for path in sorted(table.columns.keys() & strategy.schema.attributes.keys()):
        allowed_for = strategy.schema.attributes[path].allowed_for
        if allowed_for is not None and not purposes <= allowed_for:
            barred = ", ".join(sorted(purposes - allowed_for))
            raise ModelRefused(
                f"{mapping}: {path} is not allowed for {barred}, a purpose of these actions. Leave it out."
            )
