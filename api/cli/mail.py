"""`nextbest tokens` and `nextbest snippet`: what a mail needs to be decided when it is opened."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from api.email.sending import Mailing, seal_file
from api.email.snippets import AMP_NOTE, PLATFORMS, SIZE_DEFAULT, amp_snippet, snippet
from api.email.tokens import MESSAGE_MAX, VALID_DAYS_DEFAULT, VALID_DAYS_MAX, check_placement, expiry_of
from api.instants import wall_ms
from api.publications import current_version, stored_strategy
from api.settings import Settings
from api.storage import opened
from api.tokens import installation_sealer, retire, rotate
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Placement
from decisioning.errors import NextbestError
from decisioning.nouns import counted

OUT = Console(highlight=False, soft_wrap=True)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


class OfFiles(click.Group):
    """A group whose words for a file may go without the command's name: `tokens FILE` is `tokens seal FILE`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["seal", *args])


@click.group(cls=OfFiles)
def tokens() -> None:
    """Tokens of mails: for each recipient of a file, and the keys that seal them."""


@tokens.command("seal")
@click.argument("file", type=FILE)
@click.option("--placement", required=True, help="What the mail shows, for example email.hero.")
@click.option("--url", required=True, help="Under which mails reach this service: https://mail.example.com")
@click.option("--column", default="customer_id", show_default=True, help="Of the file, with the customer's id.")
@click.option("--message", default="", help="Your own name of the mail.")
@click.option("--valid-days", type=click.IntRange(1, VALID_DAYS_MAX), default=VALID_DAYS_DEFAULT, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def seal(file: Path, placement: str, url: str, column: str, message: str, valid_days: int, out: Path | None) -> None:
    """Add each recipient's token and addresses to a CSV file, row by row, whatever its size."""
    if not url.startswith(("https://", "http://")) or len(message) > MESSAGE_MAX:
        raise NextbestError(f"--url begins with https://, --message has at most {MESSAGE_MAX} characters")
    now_ms = wall_ms()
    mailing = Mailing(placement, message, url.rstrip("/"), expiry_of(valid_days, now_ms=now_ms), now_ms)
    asyncio.run(_seal(file, out, mailing, column))


async def _seal(file: Path, out: Path | None, mailing: Mailing, column: str) -> None:
    async with opened(Settings.from_environment()) as store:
        version = await current_version(store)
        if not version:
            raise NextbestError("no strategy is published here. `nextbest publish DIR` does that.")
        check_placement(await stored_strategy(store, version), mailing.placement)
        sealer = await installation_sealer(store)
    with open(file, newline="", encoding="utf-8-sig") as source:
        if out is None:
            seal_file(source, sys.stdout, sealer, mailing, column=column)
            return
        partly = out.with_name(f"{out.name}.partly")  # a file of that name is complete, always
        with open(partly, "w", newline="", encoding="utf-8") as target:
            count = seal_file(source, target, sealer, mailing, column=column)
        os.replace(partly, out)
    OUT.print(f"{counted(count, 'recipient')} in {out}", markup=False)


@tokens.command("rotate")
@click.option("--retire", "is_retiring", is_flag=True, help="Also remove keys whose last token has expired.")
def rotate_keys(is_retiring: bool) -> None:
    """Add a key: it seals from a few seconds later on, those of before go on opening what they sealed."""
    asyncio.run(_rotate(is_retiring))


async def _rotate(is_retiring: bool) -> None:
    async with opened(Settings.from_environment()) as store:
        OUT.print(f"{await rotate(store, now_ms=wall_ms())} seals within seconds", markup=False)
        retired = await retire(store, now_ms=wall_ms()) if is_retiring else []
        if is_retiring:
            OUT.print(f"retired: {', '.join(retired) or 'none is old enough'}", markup=False)


@click.group("snippet")
def snippets() -> None:
    """Code to paste."""


@snippets.command("email")
@click.option("--platform", type=click.Choice([*PLATFORMS, "amp"]), default="html", show_default=True)
@click.option("--url", required=True, help="Under which mails reach this service: https://mail.example.com")
@click.option("--strategy", "strategy_dir", type=DIRECTORY, help="Whose placement says how large the picture is.")
@click.option("--placement", help="Of that strategy; not needed where it has one picture.")
def email(platform: str, url: str, strategy_dir: Path | None, placement: str | None) -> None:
    """The picture and the link of a mail, with the merge tags of the platform that sends it."""
    if placement is not None and strategy_dir is None:
        raise NextbestError("--placement is one of a strategy's, which says how large it is: add --strategy DIR")
    if platform == "amp":
        click.echo(AMP_NOTE, err=True)
        click.echo(amp_snippet(url), nl=False)
        return
    found = _drawn(strategy_dir, placement) if strategy_dir else None
    notes = [] if found else ["{}x{} is assumed: --strategy DIR says how large the picture is.".format(*SIZE_DEFAULT)]
    for note in filter(None, [*notes, PLATFORMS[platform].note]):
        click.echo(note, err=True)
    click.echo(snippet(platform, url, found), nl=False)


def _drawn(strategy_dir: Path, placement: str | None) -> Placement:
    """The placement whose picture a mail shows: the one that is named, else the only one."""
    strategy = load_directory(strategy_dir)
    if placement is not None:
        check_placement(strategy, placement)
        return strategy.placements[placement]
    drawn = [each for each in strategy.placements.values() if each.picture is not None]
    if len(drawn) != 1:
        known = ", ".join(each.name for each in drawn) or "none"
        raise NextbestError(f"say by --placement which of them the mail shows. Drawn as pictures: {known}.")
    return drawn[0]
