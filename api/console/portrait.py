"""Portrait: a customer as the agent's screen shows them.

Pure: reads a snapshot, and writes what a template needs. Personal values appear as `masked` to roles that may not see
them. Times are on the strategy's clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from decisioning.catalog.strategy import Strategy
from decisioning.consent import in_force, stated_about
from decisioning.customer import Snapshot, SourceFacts
from decisioning.evidence import MASKED
from decisioning.interactions import ANSWERS, DAY_MS
from decisioning.nouns import counted

EVENTS_MAX = 60
HOUR_MS = 3_600_000
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Fact:
    """One attribute."""

    name: str
    value: str
    age: str  # empty where it is that of its source


@dataclass(frozen=True, slots=True)
class Source:
    """What one system says of the customer."""

    name: str
    age: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Permission:
    """What holds for one channel and purpose."""

    channel: str
    purpose: str
    granted: bool
    since: str  # or what says so, where the customer said nothing


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline."""

    at_ms: int
    at: str
    age: str
    outcome: str
    subject: str
    channel: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Promise:
    """One offer of the lease."""

    action: str
    title: str
    until: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """Everything the screen says about a customer."""

    customer_id: str
    mark: str
    sources: tuple[Source, ...]
    permissions: tuple[Permission, ...]
    promises: tuple[Promise, ...]
    events: tuple[Event, ...]


def portrait_of(snapshot: Snapshot, strategy: Strategy, *, hidden: Collection[str]) -> Portrait:
    """The customer, with the attributes in `hidden` masked."""
    profile, now_ms, zone = snapshot.profile, snapshot.now_ms, ZoneInfo(strategy.timezone)
    events = sorted(_events(snapshot, zone), key=lambda each: -each.at_ms)
    return Portrait(
        snapshot.customer_key,
        mark_of(snapshot),
        tuple(
            _source(name, facts, strategy, hidden, now_ms)
            for name, facts in sorted((profile.sources if profile else {}).items())
        ),
        tuple(_permissions(snapshot, strategy, zone)),
        promises_of(snapshot, strategy),
        tuple(_in_lines(events))[:EVENTS_MAX],
    )


def promises_of(snapshot: Snapshot, strategy: Strategy) -> tuple[Promise, ...]:
    """What is promised now; the first is the offer that every channel shows."""
    zone = ZoneInfo(strategy.timezone)
    return tuple(
        Promise(each.action, title_of(each.action), _time(each.until_ms, zone), tuple(each.channels))
        for each in snapshot.state.lease
        if each.until_ms > snapshot.now_ms
    )


def mark_of(snapshot: Snapshot) -> str:
    """Another one whenever something else may be right to show, but not because something was shown.

    Else looking would never end: a mail whose picture is fetched again was opened again, which is one more change.
    """
    state, profile = snapshot.state, snapshot.profile
    answers = [each for each in state.interactions if each.outcome in ANSWERS]
    promised = [(each.action, each.decision_id) for each in state.lease if each.until_ms > snapshot.now_ms]
    sources = sorted(profile.sources.items()) if profile else []
    told = [(name, each.at_ms, sorted(each.times_ms.items())) for name, each in sources]
    return sha256(repr((answers, promised, state.consents, told)).encode()).hexdigest()[:16]


def title_of(action: str) -> str:
    """`grow/cards/gold_upgrade` as a reader calls it: Gold upgrade."""
    return named(action.rpartition("/")[2])


def in_titles(sentences: str, strategy: Strategy) -> str:
    """Sentences of an explanation with each action by its title, as people on the telephone call it."""
    return re.sub(r"'([^' ]+)'", lambda found: repr(_title_or_name(found[1], strategy)), sentences)


def _title_or_name(name: str, strategy: Strategy) -> str:
    return title_of(name) if name in strategy.action_index else name


def named(name: str) -> str:
    """A name of the strategy as words."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _source(name: str, facts: SourceFacts, strategy: Strategy, hidden: Collection[str], now_ms: int) -> Source:
    rows = []
    for attribute, value in sorted(facts.attributes.items()):
        path = f"customer.{attribute}"
        said_ms = facts.times_ms.get(attribute)
        # What the schema does not know may be anything, so it counts as personal.
        is_hidden = path in hidden or (hidden and path not in strategy.schema.attributes)
        shown = MASKED if is_hidden else _value(value)
        rows.append(Fact(named(attribute), shown, "" if said_ms is None else age_of(said_ms, now_ms)))
    return Source(named(name), age_of(facts.at_ms, now_ms), tuple(rows))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _permissions(snapshot: Snapshot, strategy: Strategy, zone: ZoneInfo) -> Iterator[Permission]:
    consents = snapshot.state.consents
    for channel in strategy.channels:
        for purpose, holds in in_force(strategy, consents, channel=channel).items():
            stated = stated_about(consents, channel, purpose)
            since = f"since {_time(stated.at_ms, zone)}" if stated else "nothing was said"
            yield Permission(named(channel), purpose, bool(holds["granted"]), since)


def _events(snapshot: Snapshot, zone: ZoneInfo) -> Iterator[Event]:
    """Interactions of every channel, days of older ones, and what was said about consent."""
    now_ms, state = snapshot.now_ms, snapshot.state
    for each in state.interactions:
        when = _time(each.at_ms, zone), age_of(each.at_ms, now_ms)
        yield Event(each.at_ms, *when, each.outcome, title_of(each.action), named(each.channel))
    for count in state.day_counts:
        when = _time(count.last_ms, zone), age_of(count.last_ms, now_ms)
        yield Event(count.last_ms, *when, count.outcome, title_of(count.action), named(count.channel), count.times)
    for consent in state.consents:
        when = _time(consent.at_ms, zone), age_of(consent.at_ms, now_ms)
        said = "consent given" if consent.granted else "consent withdrawn"
        yield Event(consent.at_ms, *when, said, named(consent.purpose), named(consent.channel))


def _in_lines(events: Iterable[Event]) -> Iterator[Event]:
    """Neighbours that would read the same stand in one line, with the time of the latest."""
    for _, alike in groupby(events, key=lambda each: (each.channel, each.subject, each.outcome, each.age)):
        latest, *others = alike
        yield replace(latest, times=latest.times + sum(each.times for each in others))


def age_of(at_ms: int, now_ms: int) -> str:
    """`3 days ago`"""
    age_ms = now_ms - at_ms
    for unit_ms, word in ((365 * DAY_MS, "year"), (DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute")):
        if age_ms >= unit_ms:
            return f"{counted(age_ms // unit_ms, word)} ago"
    return "just now"


def _time(at_ms: int, zone: ZoneInfo) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, zone)
    return f"{at.day} {at:%b %Y, %H:%M}"
