"""`nextbest generate`: a simulated strategy with customers, of any size."""

from __future__ import annotations

from pathlib import Path

import click

from decisioning.nouns import counted
from decisioning.simulated import Size, write
from decisioning.simulated.actions import COUNT_MAX as ACTIONS_MAX
from decisioning.simulated.actions import PLACEMENTS_MAX, WEB_PLACEMENTS
from decisioning.simulated.attributes import COUNT_MAX as ATTRIBUTES_MAX
from decisioning.simulated.attributes import COUNT_MIN as ATTRIBUTES_MIN
from decisioning.simulated.contacts import FORMS


@click.command()
@click.argument("out", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--actions", type=click.IntRange(12, ACTIONS_MAX), default=200, show_default=True)
@click.option("--attributes", type=click.IntRange(ATTRIBUTES_MIN, ATTRIBUTES_MAX), default=30, show_default=True)
@click.option("--customers", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--interactions", type=click.IntRange(0, 500), default=0, show_default=True, help="Of each customer.")
@click.option("--seed", default=7, show_default=True)
@click.option(
    "--model", "form", type=click.Choice(FORMS), default="linear", show_default=True, help="What training will find."
)
@click.option(
    "--placements",
    type=click.IntRange(len(WEB_PLACEMENTS), PLACEMENTS_MAX),
    default=len(WEB_PLACEMENTS),
    show_default=True,
    help="On web pages.",
)
def generate(
    out: Path, actions: int, attributes: int, customers: int, interactions: int, seed: int, form: str, placements: int
) -> None:
    """Write a simulated bank: a strategy, customers and past contacts. The same options give the same bytes."""
    write(out, Size(actions, attributes, customers, interactions, seed, form, placements))
    size = f"{counted(actions, 'action')}, {counted(attributes, 'attribute')} and {counted(customers, 'customer')}"
    click.echo(f"{size} are in {out}: nextbest run {out}")
