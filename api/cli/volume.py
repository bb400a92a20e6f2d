"""`nextbest volume`: how the budgets of the current strategy stand."""

from __future__ import annotations

import asyncio

import click

from api.publications import current_version, stored_files
from api.settings import Settings
from api.storage import opened
from decisioning.catalog.load import load_bundle
from decisioning.customer import PARTITION_COUNT
from decisioning.store.protocol import Block, Counter, Store
from decisioning.volume import Budget, budgets_of

COLUMNS = ("limit", "spent", "reserved", "at hand", "left", "overrun")


@click.command()
def volume() -> None:
    """What is spent, reserved, at hand and left of each budget, today's where it has a day."""
    for line in asyncio.run(_lines()):
        click.echo(line)


async def _lines() -> list[str]:
    async with opened(Settings.from_environment()) as store:
        version = await current_version(store)
        strategy = load_bundle(await stored_files(store, version))
        [clock] = await store.read([""])  # nobody's snapshot, for the store's time
        return await table_of(store, budgets_of(strategy, now_ms=clock.now_ms))


async def table_of(store: Store, budgets: list[Budget]) -> list[str]:
    """A line of headings, and one for each budget."""
    if not budgets:
        return ["The current strategy has no volume constraints."]
    blocks = await store.blocks(range(PARTITION_COUNT))
    counters = await store.counters([budget.name for budget in budgets])
    width = max(len(budget.name) for budget in budgets)
    lines = [f"{'budget':<{width}}" + "".join(f"{column:>14}" for column in COLUMNS)]
    for budget, counter in zip(budgets, counters, strict=True):
        held = [found[budget.name] for found in blocks if budget.name in found]
        lines.append(f"{budget.name:<{width}}" + "".join(f"{each:>14}" for each in _figures(budget, counter, held)))
    return lines


def _figures(budget: Budget, counter: Counter, blocks: list[Block]) -> list[str]:
    """In the order of the columns, as the author writes amounts: no currency is taken to have two decimals."""
    limit = budget.constraint.limit
    units = [
        limit,
        sum(block.spent for block in blocks),
        sum(block.reserved for block in blocks),
        sum(block.at_hand for block in blocks),
        limit - counter.outstanding,
        sum(block.overrun for block in blocks),
    ]
    return [f"{budget.constraint.amount(each):.12g}" for each in units]  # thousandths of a billion are 12 digits
