"""`nextbest users`: who may sign in to the console."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console

from api.console.users import ROLES, add_user, known_users, remove_user
from api.publications import current_version, stored_strategy
from api.settings import Settings
from api.storage import opened
from decisioning.catalog.content import chain_of
from decisioning.errors import NextbestError
from decisioning.store.protocol import Store

OUT = Console(highlight=False, soft_wrap=True)


@click.group()
def users() -> None:
    """People who may sign in to the console."""


@users.command("add")
@click.argument("user_id")
@click.option("--role", required=True, type=click.Choice(ROLES))
@click.option("--language", help="Of talking points, for example de; default: the strategy's first.")
def users_add(user_id: str, role: str, language: str | None) -> None:
    """Make a user; the password is shown once and stored nowhere."""
    asyncio.run(_add(user_id, role, language))


async def _add(user_id: str, role: str, language: str | None) -> None:
    async with opened(Settings.from_environment()) as store:
        if language is not None:
            await check_language(store, language)
        OUT.print(await add_user(store, user_id, role, language), markup=False)


async def check_language(store: Store, language: str) -> None:
    """Raise NextbestError for a language that the current strategy has no content in, not even a shorter form of it."""
    version = await current_version(store)
    if not version:
        raise NextbestError("no strategy is published yet, and it says which languages there are. Publish it first.")
    known = (await stored_strategy(store, version)).languages
    if not set(chain_of(language)) & {each.lower() for each in known}:
        raise NextbestError(f"the strategy speaks no {language!r}. Its languages: {', '.join(known)}.")


@users.command("list")
def users_list() -> None:
    """Known users and their roles."""
    asyncio.run(_list())


async def _list() -> None:
    async with opened(Settings.from_environment()) as store:
        for user in (await known_users(store)).values():
            OUT.print(f"{user.user_id}  {user.role}  {user.language or ''}".rstrip(), markup=False)


@users.command("remove")
@click.argument("user_id")
def users_remove(user_id: str) -> None:
    """Remove a user; their sessions end within about a second."""
    asyncio.run(_remove(user_id))


async def _remove(user_id: str) -> None:
    async with opened(Settings.from_environment()) as store:
        await remove_user(store, user_id)
