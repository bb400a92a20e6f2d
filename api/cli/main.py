"""`nextbest`: the commands, each a thin call into the part that does the work.

Commands that read or write tables import what they need when they run: a serving process carries neither duckdb nor
scikit-learn.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any

import click
import uvicorn
from rich.console import Console

from api.cli.authoring import fmt, schema
from api.cli.bars import Bars, told
from api.cli.check import check
from api.cli.explain import explain
from api.cli.generate import generate
from api.cli.mail import snippets, tokens
from api.cli.modelling import evaluate, score, train
from api.cli.models import models
from api.cli.preview import preview
from api.cli.replay import replay
from api.cli.strategies import strategies
from api.cli.users import users
from api.cli.volume import volume
from api.cli.why import why
from api.cli.worker import worker
from api.keys import PER_SECOND_DEFAULT, PER_SECOND_MAX, SCOPES, add_key, known_keys, remove_key
from api.logs import configure_logging
from api.publications import publish_strategy
from api.settings import Settings
from api.storage import address_of, opened
from decisioning.catalog.load import load_bundle, load_directory, read_bundle
from decisioning.errors import NextbestError
from decisioning.personas import failures
from decisioning.store.process import die_with_parent

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)
DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def main() -> None:
    """Entry point: expected errors are one plain message and exit code 1."""
    configure_logging()
    try:
        commands(prog_name="nextbest")
    except (NextbestError, OSError) as error:
        ERR.print(str(error), markup=False)
        sys.exit(1)


@click.group()
@click.option(
    "--parent", type=int, hidden=True, help="End when this process does; `nextbest run` starts its children so."
)
def commands(parent: int | None) -> None:
    """Decide at the moment of contact: an offer, a brand message, or nothing."""
    if parent is not None:
        die_with_parent(parent)


def in_loop(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async command."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(command(*args, **kwargs))

    return run


@commands.command()
@click.argument("strategy_dir", type=DIRECTORY)
@click.option("--port", default=8080, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Serving processes.")
def run(strategy_dir: Path, port: int, workers: int) -> None:
    """Everything on this machine: store, example customers, model, worker and server, for trying a strategy out."""
    from api.cli.demo import run_demo

    run_demo(strategy_dir, port=port, workers=workers)


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8080, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Serving processes; each is ready on its own.")
def serve(host: str, port: int, workers: int) -> None:
    """Answer decisions over HTTP."""
    from api.connection import Connection

    Settings.from_environment()  # a variable that cannot be read is told here, once, and not by every worker
    with ExitStack() as stack:
        if workers > 1:  # one alone needs no folder, and would leave it: uvicorn ends it by the signal that it got
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nextbest-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by prometheus_client when a worker imports it
        uvicorn.run(
            "api.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http=Connection,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=5,
            timeout_worker_healthcheck=30,
        )


@commands.command()
@click.argument("strategy_dir", type=DIRECTORY)
@in_loop
async def publish(strategy_dir: Path) -> None:
    """Check a strategy, meet its personas, and switch every running process to it."""
    files = read_bundle(strategy_dir)
    strategy = load_bundle(files)
    if unmet := failures(strategy, now_ms=time.time_ns() // 1_000_000):
        raise NextbestError("\n".join([*map(str, unmet), "nothing was published; the running strategy stays"]))
    settings = Settings.from_environment()
    async with opened(settings) as store:
        await publish_strategy(store, files, strategy)
    OUT.print(f"published {strategy.name} {strategy.version[:12]} to {address_of(settings)}")


@commands.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--strategy", "strategy_dir", required=True, type=DIRECTORY, help="Whose schema types the attributes.")
@click.option("--mapping", type=FILE, help="Names the columns, when they are not called as in the schema.")
@click.option("--source", help="The source all attributes come from, when the schema does not say.")
@click.option("--rejects", type=click.Path(path_type=Path), default=Path("rejects.csv"), show_default=True)
@in_loop
async def load(
    files: tuple[Path, ...], strategy_dir: Path, mapping: Path | None, source: str | None, rejects: Path
) -> None:
    """Load customers from CSV, JSON lines or Parquet; running it again is harmless. Exits with 1 for rejected rows."""
    from decisioning.history.load import load_customers
    from decisioning.history.mapping import read_mapping

    strategy = load_directory(strategy_dir)
    settings = Settings.from_environment()
    async with opened(settings) as store:
        with Bars() as bars:
            summary = await load_customers(
                files,
                strategy.schema,
                store,
                channels=strategy.channels,
                mapping=read_mapping(mapping) if mapping else None,
                source=source,
                at_ms=time.time_ns() // 1_000_000,
                rejects_path=rejects,
                progress=bars.of("customers"),
            )
    OUT.print(told(summary, rejects), markup=False)
    if summary.rejected:
        sys.exit(1)  # the other rows are in the store; a job that loads every night must not take this for success


for each in (check, why, explain, generate, replay, volume, fmt, schema, strategies, models, train, evaluate, score):
    commands.add_command(each)
for each in (preview, tokens, snippets, users, worker):
    commands.add_command(each)


@commands.group()
def keys() -> None:
    """API keys."""


@keys.command("add")
@click.argument("key_id")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES))
@click.option(
    "--per-second",
    type=click.FloatRange(1, PER_SECOND_MAX),
    default=PER_SECOND_DEFAULT,
    show_default=True,
    help="Requests a second, in each serving process.",
)
@in_loop
async def keys_add(key_id: str, scopes: tuple[str, ...], per_second: float) -> None:
    """Make a key; its secret is shown once and stored nowhere."""
    async with opened(Settings.from_environment()) as store:
        OUT.print(await add_key(store, key_id, scopes, per_second), markup=False)


@keys.command("list")
@in_loop
async def keys_list() -> None:
    """Known keys, their scopes and rates."""
    async with opened(Settings.from_environment()) as store:
        for key in (await known_keys(store)).values():
            OUT.print(f"{key.key_id}  {','.join(key.scopes)}  {key.per_second:g}/s", markup=False)


@keys.command("remove")
@click.argument("key_id")
@in_loop
async def keys_remove(key_id: str) -> None:
    """Remove a key; it stops working within about a second."""
    async with opened(Settings.from_environment()) as store:
        await remove_key(store, key_id)
