"""The registry of models: which one decides, which is shadowed or challenges, and the log of who made it so.

Artifacts lie in a directory, one folder per version; the store holds pointers at them and the log. A model that is to
decide, for all or for a share of people, passes the release gate of `decisioning/release.py`. What it is refused for
can be overridden by name and reason only, which stay in the log; a damaged artifact cannot be overridden.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from api.publications import current_version as current_strategy
from api.publications import stored_strategy
from api.trail import ROLLBACK, SHORT, full_version, version_before, whoami
from decisioning.errors import ModelRefused, RegistryDamaged, ReleaseRefused, VersionMissing
from decisioning.release import Candidate, Check, candidate_of, cost_check, gate
from decisioning.store.protocol import Store

PROMOTE, SHADOW, CHALLENGER = "promote", "shadow", "challenger"
SHADOW_STOP, CHALLENGER_STOP = "shadow-stop", "challenger-stop"
DECIDING = (PROMOTE, ROLLBACK)  # the lines that made a model current
LOG = "promotion"  # kind of the registry's entries, which are named by time and version
VERSION_DIGITS = 64

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Promotion:
    """One line of the log."""

    version: str
    at_ms: int  # by the clock of the machine the command ran on
    by: str  # user@host, behind the name given with an override
    how: str
    share: float = 1.0  # of people that it decides for; a shadow decides for none
    reason: str = ""  # why the gate was overridden
    overridden: tuple[str, ...] = ()  # what it had refused the model for


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model that decides for a share of people."""

    version: str
    share: float
    salt: str  # with a person's assignment key it says who they are; a larger share adds people and moves nobody


@dataclass(frozen=True, slots=True)
class Pointers:
    """What the store says should be running; empty or None where nothing is named."""

    model: str = ""
    shadow: str = ""
    challenger: Challenger | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Who releases a model against the gate, and why."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled contacts that neither model was trained on."""

    history: Sequence[Path]
    mapping: Path


@dataclass(frozen=True, slots=True)
class Release:
    """A model that was let through, with what the gate found."""

    version: str
    checks: Sequence[Check]

    @property
    def refused(self) -> tuple[str, ...]:
        """What only an override let pass."""
        return tuple(str(each) for each in self.checks if not each.passed)


async def promote(
    store: Store, models_dir: Path, version: str, *, rows: Rows | None = None, override: Override | None = None
) -> Release:
    """Make a model current, by the beginning of its version; running processes take it up within seconds.

    rows: where it is compared with the current model; without them the gate compares their reports.
    Raises VersionMissing, ModelRefused for a damaged artifact, or ReleaseRefused with everything the gate found wrong.
    """
    release = await _released(store, models_dir, version, rows, override)
    await store.put("current", "model", release.version.encode())
    await _log(store, release.version, PROMOTE, release=release, override=override)
    await _end_trial(store, release.version)
    return release


async def roll_back(store: Store, models_dir: Path) -> str:
    """Make the model current that was so before the present one. It passed the gate then and only has to load now.

    Raises VersionMissing when there is none, or ModelRefused.
    """
    before = version_before(await deciding_log(store), (await pointers_of(store)).model)
    if before is None:
        raise VersionMissing("no model was current before this one. `nextbest models list` shows what is there.")
    await asyncio.to_thread(candidate_of, models_dir / before)
    await store.put("current", "model", before.encode())
    await _log(store, before, ROLLBACK)
    await _end_trial(store, before)
    return before


async def _end_trial(store: Store, version: str) -> None:
    """A model that decides for everybody neither shadows nor challenges itself."""
    named = await pointers_of(store)
    if named.shadow == version:
        await stop_shadow(store)
    if named.challenger is not None and named.challenger.version == version:
        await stop_challenger(store)


async def start_shadow(store: Store, models_dir: Path, version: str) -> str:
    """Score a model beside the current one in every decision. It decides nothing, so it only has to be quick enough.

    Raises VersionMissing or ModelRefused.
    """
    full = full_version(version, versions_in(models_dir), of="model")
    await _refuse_current(store, full)
    candidate = await asyncio.to_thread(candidate_of, models_dir / full)
    if not (cost := cost_check(candidate.model)).passed:
        raise ModelRefused(f"model {full[:SHORT]} would slow every answer down. {cost}")
    await store.put("current", SHADOW, full.encode())
    await _log(store, full, SHADOW)
    return full


async def _refuse_current(store: Store, version: str) -> None:
    if version == (await pointers_of(store)).model:
        raise ModelRefused(f"model {version[:SHORT]} decides already; it cannot be tried against itself.")


async def stop_shadow(store: Store) -> str:
    """No shadow any more; returns which one it was, empty when there was none."""
    shadow = (await pointers_of(store)).shadow
    if await store.remove("current", SHADOW):
        await _log(store, shadow, SHADOW_STOP)
    return shadow


async def start_challenger(
    store: Store, models_dir: Path, version: str, *, share: float, override: Override | None = None
) -> Release:
    """Let a model decide for a share of people; raises like `promote`."""
    release = await _released(store, models_dir, version, None, override)
    await _refuse_current(store, release.version)
    challenger = Challenger(release.version, share, salt=release.version)
    await store.put("current", CHALLENGER, msgspec.json.encode(challenger))
    await _log(store, release.version, CHALLENGER, share=share, release=release, override=override)
    return release


async def stop_challenger(store: Store) -> str:
    """The current model decides for everybody again; returns who challenged, empty when nobody did."""
    challenger = (await pointers_of(store)).challenger
    if challenger is None:
        return ""
    await store.remove("current", CHALLENGER)
    await _log(store, challenger.version, CHALLENGER_STOP)
    return challenger.version


async def pointers_of(store: Store) -> Pointers:
    """What should be running. Raises RegistryDamaged."""
    model, shadow, packed = [await store.get("current", name) for name in ("model", SHADOW, CHALLENGER)]
    challenger = None if packed is None else _decoded(packed, Challenger, CHALLENGER)
    return Pointers(_text(model), _text(shadow), challenger)


async def promotions(store: Store) -> list[Promotion]:
    """The log, oldest first. Raises RegistryDamaged."""
    return [
        _decoded(await store.get(LOG, name) or b"", Promotion, f"promotion {name}") for name in await store.names(LOG)
    ]


async def deciding_log(store: Store) -> list[Promotion]:
    """The lines of the log that made a model current."""
    return [each for each in await promotions(store) if each.how in DECIDING]


def versions_in(models_dir: Path) -> list[str]:
    """The versions in the directory of models, sorted."""
    if not models_dir.is_dir():
        return []
    return sorted(each.name for each in models_dir.iterdir() if each.is_dir() and len(each.name) == VERSION_DIGITS)


async def _released(
    store: Store, models_dir: Path, version: str, rows: Rows | None, override: Override | None
) -> Release:
    """The model behind the beginning of a version, past the gate or over it."""
    full = full_version(version, versions_in(models_dir), of="model")
    release = Release(full, await checked(store, models_dir, full, rows))
    if release.refused and override is None:
        raise ReleaseRefused(full[:SHORT], release.refused)
    return release


async def checked(store: Store, models_dir: Path, version: str, rows: Rows | None = None) -> list[Check]:
    """What the release gate finds about a model, against the strategy and the model that are current."""
    candidate = await asyncio.to_thread(candidate_of, models_dir / version)
    strategy_version = await current_strategy(store)
    strategy = await stored_strategy(store, strategy_version) if strategy_version else None
    current = await _current(store, models_dir, version)
    measured = None
    if rows is not None and current is not None:
        from decisioning.comparison import compare  # it reads tables, which a serving process has no library for

        measured = compare(candidate.model, current.model, rows.history, rows.mapping).auc
    return gate(candidate, current=current, strategy=strategy, measured=measured)


async def _current(store: Store, models_dir: Path, version: str) -> Candidate | None:
    """The model that decides now, None when it is this very one, or is not here or too damaged to be compared with."""
    current = (await pointers_of(store)).model
    if not current or current == version:
        return None
    try:
        return await asyncio.to_thread(candidate_of, models_dir / current)
    except (VersionMissing, ModelRefused):
        return None


async def _log(
    store: Store,
    version: str,
    how: str,
    *,
    share: float = 1.0,
    release: Release | None = None,
    override: Override | None = None,
) -> None:
    at_ns, by, reason = time.time_ns(), whoami(), ""
    refused = release.refused if release else ()
    if refused and override is not None:
        by, reason = f"{override.by} ({by})", override.reason
    line = Promotion(version, at_ns // 1_000_000, by, how, share, reason, refused)
    await store.put(LOG, f"{at_ns:019d}-{version[:SHORT]}", msgspec.json.encode(line))


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _decoded(packed: bytes, of: type[Entry], name: str) -> Entry:
    try:
        return msgspec.json.decode(packed, type=of)
    except msgspec.MsgspecError as error:
        raise RegistryDamaged(f"{name} in the store's registry cannot be read: {error}") from error
