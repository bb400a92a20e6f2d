"""`nextbest train`, `evaluate` and `score`: a model from a table of past contacts, judged and applied on another.

Nothing here needs a running installation, but for what is promoted or learnt from an installation's own history. The
work itself is imported when a command runs: a serving process carries neither duckdb nor scikit-learn.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click
import orjson

from api import model_registry
from api.cli.bars import Bars
from api.cli.models import tell_release
from api.publications import current_version, stored_strategy
from api.settings import Settings
from api.storage import opened
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError
from decisioning.nouns import counted
from decisioning.store.protocol import Store

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(path_type=Path)

history_files = click.option(
    "--history", "files", type=FILE, multiple=True, help="CSV, JSON lines or Parquet; may be given several times."
)
needed_history = click.option(
    "--history", "files", type=FILE, multiple=True, required=True, help="CSV, JSON lines or Parquet."
)
needed_mapping = click.option(
    "--mapping", required=True, type=FILE, help="Names features, action, outcome and time among the columns."
)
strategy_option = click.option(
    "--strategy", "strategy_dir", type=DIRECTORY, help="Whose schema types and checks the features."
)


@click.command()
@history_files
@click.option("--mapping", type=FILE, help="Names features, action, outcome and time among the columns.")
@click.option("--recorded", is_flag=True, help="Learn from this installation's own decisions and answers instead.")
@strategy_option
@click.option(
    "--previous", type=DIRECTORY, help="A model to compare with; default, when it is promoted: the one that decides."
)
@click.option("--out", type=OUT, help="Directory of artifacts; default: where the servers look.")
@click.option("--promote", is_flag=True, help="Let the new model decide, once the release gate lets it pass.")
def train(
    files: tuple[Path, ...],
    mapping: Path | None,
    recorded: bool,
    strategy_dir: Path | None,
    previous: Path | None,
    out: Path | None,
    promote: bool,
) -> None:
    """Fit calibrated propensities per action from past contacts; the last line is the new model's folder.

    They lie in tables (--history FILE --mapping FILE), or are what was recorded here (--recorded), read with the
    published strategy unless --strategy names another.
    """
    if recorded == bool(files) or recorded == bool(mapping):
        raise click.UsageError("name tables and their mapping, --history FILE --mapping FILE, or --recorded")
    if out is not None and promote:
        raise NextbestError("--promote switches servers to what lies in their models directory; leave --out away.")
    asyncio.run(_train(files, mapping, strategy_dir, previous, out, promote=promote))


async def _train(
    files: tuple[Path, ...],
    mapping: Path | None,
    strategy_dir: Path | None,
    previous: Path | None,
    out: Path | None,
    *,
    promote: bool,
) -> None:
    # Threads of boosted trees wait for each other without burning a core: with other work beside them that is thirty
    # times as quick, and alone it costs nothing. Read when the training library is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from decisioning.evaluation import artifact_in
    from decisioning.training import train_model, train_recorded

    settings, strategy = Settings.from_environment(), _strategy(strategy_dir)
    models_dir = out or settings.models_dir
    previous = artifact_in(previous) if previous else await _deciding(settings) if promote else None
    with Bars() as bars:
        tell = bars.steps("training")
        if mapping is not None:
            trained = train_model(files, mapping, models_dir, tell, strategy=strategy, previous=previous)
        else:
            async with opened(settings) as store:
                strategy = strategy or await _published(store)
                trained = await train_recorded(
                    settings.history_dir, strategy, store, models_dir, tell, previous=previous
                )
    for line in (str(trained.report), *trained.told, f"a card for people: {trained.folder / 'card.html'}"):
        click.echo(line)
    if promote:
        async with opened(settings) as store:
            release = await model_registry.promote(store, settings.models_dir, trained.version)
        tell_release(release, "promoted")
    click.echo(trained.folder)


async def _deciding(settings: Settings) -> Path | None:
    """The artifact of the model that decides, where it is still here."""
    async with opened(settings) as store:
        version = (await model_registry.pointers_of(store)).model
    folder = settings.models_dir / version
    return folder if version and (folder / "model.json").exists() else None


@click.command()
@click.argument("model", type=DIRECTORY)
@needed_history
@needed_mapping
@strategy_option
@click.option(
    "--contact-cost", type=click.FloatRange(min=0), default=0.0, show_default=True, help="In the unit of the uplifts."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def evaluate(
    model: Path,
    files: tuple[Path, ...],
    mapping: Path,
    strategy_dir: Path | None,
    contact_cost: float,
    as_json: bool,
) -> None:
    """Judge the model in a directory by labelled rows that it never saw."""
    from decisioning.evaluation import evaluate_model
    from decisioning.evaluation_text import told

    found = evaluate_model(model, files, mapping, strategy=_strategy(strategy_dir), contact_cost=contact_cost)
    if as_json:
        click.echo(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2))
        return
    for line in told(found):
        click.echo(line)


@click.command()
@click.argument("model", type=DIRECTORY)
@needed_history
@needed_mapping
@strategy_option
@click.option("--out", required=True, type=OUT, help="CSV or Parquet file to write.")
def score(model: Path, files: tuple[Path, ...], mapping: Path, strategy_dir: Path | None, out: Path) -> None:
    """Write the propensities that the model in a directory gives to the rows of a table."""
    from decisioning.evaluation import score_table
    from decisioning.history.scores import write_scores

    scored = score_table(model, files, mapping, strategy=_strategy(strategy_dir))
    write_scores(scored, out)
    click.echo(f"{counted(len(scored.row), 'propensity', 'propensities')} written to {out}")


async def _published(store: Store) -> Strategy:
    version = await current_version(store)
    if not version:
        raise NextbestError("no strategy is published here; name one with --strategy DIR.")
    return await stored_strategy(store, version)


def _strategy(directory: Path | None) -> Strategy | None:
    return load_directory(directory) if directory else None
