"""`nextbest models`: which models are there, how good they are, and which one decides, is shadowed or challenges."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from api import model_registry
from api.model_registry import Override, Pointers, Promotion, Release, Rows
from api.settings import Settings
from api.storage import opened
from api.trail import SHORT, full_version
from decisioning.errors import ModelRefused, NextbestError
from decisioning.nouns import counted
from decisioning.release import candidate_of, form_of, report_of

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHARE = click.FloatRange(0, 0.5, min_open=True)  # a model that decides for more is the current one
ATTRIBUTES_SHOWN = 10


@click.group()
def models() -> None:
    """Trained models: list, compare, promote, roll back, shadow, challenge."""


def overridable(command: Any) -> Any:
    """The options by which somebody answers for a model that the gate refuses."""
    for option in (
        click.option("--reason", default="", help="Why it is released nevertheless; kept in the log."),
        click.option("--by", default="", help="Who answers for it; kept in the log."),
        click.option("--override", is_flag=True, help="Release it although the gate refuses; needs --by and --reason."),
    ):
        command = option(command)
    return command


def override_of(override: bool, by: str, reason: str) -> Override | None:
    """What the three options say together. Raises NextbestError when one of them is missing."""
    if override != bool(by.strip() and reason.strip()) or bool(by.strip()) != bool(reason.strip()):
        raise NextbestError("an override has a name and a reason: --override --by NAME --reason TEXT")
    return Override(by.strip(), reason.strip()) if override else None


@models.command("list")
def list_command() -> None:
    """Versions in the models directory, newest first, and what each of them is for now."""
    asyncio.run(_list())


async def _list() -> None:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        pointers, log = await model_registry.pointers_of(store), await model_registry.promotions(store)
    versions = model_registry.versions_in(settings.models_dir)
    last = {each.version: each for each in log}  # later lines replace earlier ones
    for version in sorted(versions, key=lambda each: _written_ms(settings.models_dir / each), reverse=True):
        folder = settings.models_dir / version
        mark = "*" if version == pointers.model else " "
        told = [_moment(_written_ms(folder)), _report_line(folder), *_roles(version, pointers)]
        told += [f"last {_told(last[version])}"] if version in last else []
        click.echo(f"{mark} {version[:SHORT]}  {'  '.join(told)}")
    for version in sorted({pointers.model} - {"", *versions}):
        click.echo(f"* {version[:SHORT]}  current, but not in {settings.models_dir}")


@models.command("log")
def log_command() -> None:
    """Who made which model decide, shadow or challenge, when, and against what the gate said; oldest first."""
    asyncio.run(_log())


async def _log() -> None:
    async with opened(Settings.from_environment()) as store:
        for line in await model_registry.promotions(store):
            click.echo(f"{line.version[:SHORT]}  {_told(line)}")
            for each in line.overridden:
                click.echo(f"              against: {each}")


@models.command()
@click.argument("version")
def show(version: str) -> None:
    """What is known of a model: its form, how good it is on each action, what its attributes rank alone."""
    candidate = candidate_of(folder := _folder(version))
    model, report = candidate.model, candidate.report
    click.echo(f"model {folder.name}\nwritten {_moment(_written_ms(folder))} in {folder.parent}")
    size = f"{counted(len(model.actions), 'action')}, {counted(len(model.features), 'attribute')}"
    increments = "knows" if model.incremental is not None else "does not know"
    click.echo(f"{form_of(model)}, {size}; {increments} what acting adds")
    click.echo(f"all actions: {_quality(report.get('overall'))}")
    for each in report.get("actions", ()):
        click.echo(f"  {each['action']}: {_quality(each['figures'])}")
    alone = report.get("auc_alone", {})
    for path in sorted(alone, key=lambda name: -abs(alone[name] - 0.5))[:ATTRIBUTES_SHOWN]:
        click.echo(f"  {path} alone: AUC {alone[path]:.3f}")
    for card in ("card.md", "card.html"):
        if (folder / card).exists():
            click.echo(f"all of it: {folder / card}")


@models.command()
@click.argument("first")
@click.argument("second")
@click.option("--history", required=True, multiple=True, type=FILE, help="Rows that neither was trained on.")
@click.option("--mapping", required=True, type=FILE, help="Names features, action, outcome and customer.")
def compare(first: str, second: str, history: tuple[Path, ...], mapping: Path) -> None:
    """Two models on the same rows: the differences, with intervals over persons."""
    from decisioning.comparison import compare as compare_models

    one, other = (candidate_of(_folder(version)).model for version in (first, second))
    comparison = compare_models(one, other, history, mapping)
    size = f"{counted(comparison.row_count, 'row')} of {counted(comparison.person_count, 'person')}"
    click.echo(f"{size}, 95 % intervals over persons")
    click.echo(f"AUC within actions: {comparison.auc}")
    click.echo(f"log loss, less is better: {comparison.log_loss}")


@models.command()
@click.argument("version")
@click.option(
    "--history", multiple=True, type=FILE, help="Rows to compare with the current model on, instead of the two reports."
)
@click.option("--mapping", type=FILE, help="Names features, action, outcome and customer of --history.")
@overridable
def promote(
    version: str, history: tuple[Path, ...], mapping: Path | None, override: bool, by: str, reason: str
) -> None:
    """Let a model decide, once the release gate lets it pass; the beginning of its version is enough."""
    if bool(history) != bool(mapping):
        raise NextbestError("rows to compare on have both --history and --mapping")
    rows = Rows(history, mapping) if history and mapping else None
    asyncio.run(_promote(version, rows, override_of(override, by, reason)))


async def _promote(version: str, rows: Rows | None, override: Override | None) -> None:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        full = full_version(version, model_registry.versions_in(settings.models_dir), of="model")
        if full == (await model_registry.pointers_of(store)).model:
            click.echo(f"model {full[:SHORT]} is current already")
            return
        release = await model_registry.promote(store, settings.models_dir, full, rows=rows, override=override)
    tell_release(release, "promoted")


def tell_release(release: Release, what: str) -> None:
    """What the gate found, and what became of the model."""
    for check in release.checks:
        click.echo(f"  {'passed' if check.passed else 'OVERRIDDEN'}  {check}")
    click.echo(f"model {release.version[:SHORT]} {what}")


@models.command()
def rollback() -> None:
    """Let the model decide that did so before the present one."""
    asyncio.run(_rollback())


async def _rollback() -> None:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        version = await model_registry.roll_back(store, settings.models_dir)
    click.echo(f"rolled back to model {version[:SHORT]}")


@models.command()
@click.argument("version", required=False)
@click.option("--stop", is_flag=True, help="No shadow any more.")
def shadow(version: str | None, stop: bool) -> None:
    """Score a model beside the current one and log it; it decides nothing."""
    _refuse_unless_one(version, stop)
    asyncio.run(_shadow(version))


async def _shadow(version: str | None) -> None:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        if version is None:
            click.echo(_stopped("shadow", await model_registry.stop_shadow(store)))
        else:
            full = await model_registry.start_shadow(store, settings.models_dir, version)
            click.echo(f"model {full[:SHORT]} is scored and logged beside the current one, deciding nothing")


@models.command()
@click.argument("version", required=False)
@click.option(
    "--share", type=click.FloatRange(0, 0.5, min_open=True), default=0.1, show_default=True, help="Of persons."
)
@click.option("--stop", is_flag=True, help="No challenger any more.")
@overridable
def challenger(version: str | None, share: float, stop: bool, override: bool, by: str, reason: str) -> None:
    """Let a model decide for a share of persons, once the release gate lets it pass."""
    _refuse_unless_one(version, stop)
    asyncio.run(_challenger(version, share, override_of(override, by, reason)))


async def _challenger(version: str | None, share: float, override: Override | None) -> None:
    settings = Settings.from_environment()
    async with opened(settings) as store:
        if version is None:
            click.echo(_stopped("challenger", await model_registry.stop_challenger(store)))
        else:
            release = await model_registry.start_challenger(
                store, settings.models_dir, version, share=share, override=override
            )
            tell_release(release, f"decides for {share:.0%} of persons")


def _refuse_unless_one(version: str | None, stop: bool) -> None:
    if stop == (version is not None):
        raise NextbestError("either a VERSION or --stop")


def _stopped(role: str, version: str) -> str:
    return f"model {version[:SHORT]} is {role} no more" if version else f"there was no {role}"


def _folder(version: str) -> Path:
    models_dir = Settings.from_environment().models_dir
    return models_dir / full_version(version, model_registry.versions_in(models_dir), of="model")


def _report_line(folder: Path) -> str:
    """One damaged folder does not keep the others from being listed."""
    try:
        return _figures(report_of(folder).get("overall"))
    except ModelRefused:
        return "its report cannot be read"


def _figures(figures: Mapping[str, Any] | None) -> str:
    if not figures:
        return "no report"
    auc = "-" if figures["auc"] is None else f"{figures['auc']:.3f}"
    return f"{counted(figures['rows'], 'row')}, {counted(figures['positives'], 'positive')}, AUC {auc}"


def _quality(figures: Mapping[str, Any] | None) -> str:
    if not figures:
        return "no report"
    told = _figures(figures)
    if figures.get("auc_interval"):
        told += " ({:.3f} to {:.3f})".format(*figures["auc_interval"])
    error, floor = figures["calibration_error"], figures["calibration_floor"]
    return f"{told}, calibration error {error:.4f}, {floor:.4f} if it were perfect"


def _roles(version: str, pointers: Pointers) -> list[str]:
    """What the model is for now."""
    challenger = pointers.challenger
    roles = ["current"] if version == pointers.model else []
    roles += ["shadow"] if version == pointers.shadow else []
    if challenger is not None and version == challenger.version:
        roles.append(f"challenger, {challenger.share:.0%} of persons")
    return roles


def _told(line: Promotion) -> str:
    share = f" of {line.share:.0%}" if line.how == model_registry.CHALLENGER else ""
    why = f", overridden: {line.reason}" if line.overridden else ""
    return f"{line.how}{share} {_moment(line.at_ms)} by {line.by}{why}"


def _written_ms(folder: Path) -> int:
    return folder.stat().st_mtime_ns // 1_000_000


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
