"""`nextbest strategies`: which versions are in the store, what is different, and switching between them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click

from api.publications import current_version, publications, roll_back, stored_files, switch_strategy
from api.settings import Settings
from api.storage import opened
from api.trail import SHORT, full_version
from decisioning.catalog.diff import differences
from decisioning.catalog.load import read_bundle
from decisioning.store.protocol import Store


@click.group()
def strategies() -> None:
    """Published strategies: list, compare, switch, roll back."""


@strategies.command("list")
def list_command() -> None:
    """Versions in the store, the one that became current last first."""
    asyncio.run(_list())


async def _list() -> None:
    async with opened(Settings.from_environment()) as store:
        current, log = await current_version(store), await publications(store)
        versions = await store.names("strategy")
    last = {each.version: each for each in log}  # later lines replace earlier ones
    for version in sorted(versions, key=lambda each: last[each].at_ms if each in last else 0, reverse=True):
        mark = "*" if version == current else " "
        line = last.get(version)
        story = f"{line.name}  {line.how} {_time(line.at_ms)} by {line.by}" if line else "no line in the log"
        click.echo(f"{mark} {version[:SHORT]}  {story}")


@strategies.command()
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str) -> None:
    """What NEW changes against OLD, action by action; each is the beginning of a version, or a directory."""
    for line in asyncio.run(_diff(old, new)):
        click.echo(line)


async def _diff(old: str, new: str) -> list[str]:
    if Path(old).is_dir() and Path(new).is_dir():
        return differences(read_bundle(old), read_bundle(new))
    async with opened(Settings.from_environment()) as store:
        return differences(await _files(store, old), await _files(store, new))


async def _files(store: Store, name: str) -> dict[str, bytes]:
    return read_bundle(name) if Path(name).is_dir() else await stored_files(store, name)


@strategies.command()
@click.argument("version")
def switch(version: str) -> None:
    """Make a version in the store current; the beginning of it is enough."""
    asyncio.run(_switch(version))


async def _switch(version: str) -> None:
    async with opened(Settings.from_environment()) as store:
        full = full_version(version, await store.names("strategy"), of="strategy")
        if full == await current_version(store):
            click.echo(f"{full[:SHORT]} is current already")
            return
        strategy = await switch_strategy(store, full)
    click.echo(f"switched to {strategy.name} {strategy.version[:SHORT]}")


@strategies.command()
def rollback() -> None:
    """Make the version current that was so before the present one."""
    asyncio.run(_rollback())


async def _rollback() -> None:
    async with opened(Settings.from_environment()) as store:
        strategy = await roll_back(store)
    click.echo(f"rolled back to {strategy.name} {strategy.version[:SHORT]}")


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
