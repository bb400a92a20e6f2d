"""Preview: what a placement shows of an action, of nothing and in trouble, for a persona, before anybody real sees it.

The same functions as in service: a moment, `Content.render`, the mail's fragment and picture. Gates, consent and limits
are not asked: the question is how something looks, not who gets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from api.email.following import link_of
from api.email.fragment import fragment
from api.email.pictures import Drawing, Pictures, quiet
from decisioning.catalog.content import Content, chain_of
from decisioning.catalog.faults import known
from decisioning.catalog.strategy import Field, Persona, Placement, Strategy
from decisioning.errors import ContentUnknown, NextbestError
from decisioning.moment import Moment
from decisioning.personas import moment_with

NOTHING, TROUBLE = "nothing", "fallback"  # what can be looked at besides actions
UNKNOWN = "somebody unknown"  # of whom no source has said anything


@dataclass(frozen=True, slots=True)
class Preview:
    """What a placement shows."""

    placement: Placement
    language: str  # that the texts are written in, where each has a version in it
    content: Mapping[str, Any] | None  # None: there is nothing to show
    missing: str | None  # why this action is not shown to this persona at all

    @property
    def html(self) -> str:
        """What a mail of somebody else's making shows."""
        link = link_of(self.placement, self.content) or self.placement.default_url
        return fragment(self.placement, self.content, link)

    @property
    def has_picture(self) -> bool:
        """True when there is something to draw."""
        return self.placement.picture is not None and self.missing is None

    def drawing(self, pictures: Pictures, *, scale: int) -> Drawing:
        """What a mail's picture shows, for a placement that declares one."""
        assert self.placement.picture is not None
        if self.content is None:
            return quiet(self.placement.picture, self.placement.quiet_color, scale)
        return pictures.draw(self.placement.picture, self.content, scale=scale)


def preview(
    strategy: Strategy, *, action: str, placement: str, persona: str, language: str | None, now_ms: int
) -> Preview:
    """What `placement` shows of `action` (a key, `nothing` or `fallback`) to `persona`, by name or file.

    language: None for the persona's own. Raises NextbestError for what the strategy does not have.
    """
    place = strategy.placements.get(placement)
    if place is None:
        raise NextbestError(f"unknown placement {placement!r}. {known(placement, strategy.placements)}")
    moment = _moment(persona_of(strategy, persona), place, strategy, now_ms)
    asked = language or strategy.language_of(moment.attributes)
    content = _content(strategy, action, place)
    if content is None:
        return Preview(place, strategy.languages[0], None, None)
    spoken = next((tag for tag in chain_of(asked) if tag in content.languages), strategy.languages[0].lower())
    try:
        return Preview(place, spoken, content.render(asked, moment.activation), None)
    except ContentUnknown as error:
        return Preview(place, spoken, None, str(error))


def persona_names(strategy: Strategy) -> list[str]:
    """Whom a preview can be for."""
    return [UNKNOWN, *(each.name for each in strategy.personas)]


def persona_of(strategy: Strategy, name: str) -> Persona:
    """A persona by its name or that of its file. Raises NextbestError."""
    by_name = {UNKNOWN: Persona(UNKNOWN, "", {})}
    for each in strategy.personas:
        by_name[each.name] = by_name[each.where.partition(".yaml")[0].removeprefix("personas/")] = each
    if name not in by_name:
        raise NextbestError(f"unknown persona {name!r}. {known(name, by_name)}")
    return by_name[name]


def placements_for(strategy: Strategy, action: str) -> list[str]:
    """Where an action can be shown; nothing and the fallback can be everywhere. Raises NextbestError."""
    if action in (NOTHING, TROUBLE):
        return list(strategy.placements)
    if action not in strategy.action_index:
        raise NextbestError(f"unknown action {action!r}. {known(action, strategy.action_index)}")
    treatments = strategy.actions[strategy.action_index[action]].treatments.values()
    return [placement for treatment in treatments for placement in treatment.placements]


def remarks(seen: Preview, drawings: Mapping[str, Drawing]) -> list[str]:
    """What is missing, too long or clipped. drawings: by what they are called."""
    if seen.missing is not None:
        return [f"not shown: {seen.missing}"]
    found = [] if seen.content is None else list(_remarks(seen.placement, seen.content))
    for name, drawing in drawings.items():
        found += [f"{name}: {flaw.field} {flaw.detail}" for flaw in drawing.flaws]
    return found


def _content(strategy: Strategy, action: str, placement: Placement) -> Content | None:
    if action == NOTHING:
        return placement.quiet
    if action == TROUBLE:
        return placement.fallback
    here = placements_for(strategy, action)
    if placement.name not in here:
        raise NextbestError(f"{action} is not shown in {placement.name}, but in {', '.join(here)}")
    return strategy.actions[strategy.action_index[action]].treatments[placement.channel].content


def _moment(persona: Persona, placement: Placement, strategy: Strategy, now_ms: int) -> Moment:
    place = {"channel": placement.channel, "placements": [placement.name]}
    return moment_with(replace(persona, body={**persona.body, **place}), strategy, now_ms=now_ms)


def _remarks(placement: Placement, content: Mapping[str, Any]) -> Iterator[str]:
    for field in placement.fields.values():
        value = content.get(field.name)
        if not value:
            yield f"{field.name}: missing"
        for text in _texts(field, value):
            if field.max is not None and len(text) > field.max:
                yield f"{field.name}: {len(text)} characters, the placement shows {field.max}"


def _texts(field: Field, value: Any) -> list[str]:
    """The texts of a field whose length counts."""
    if isinstance(value, Mapping):
        return [value.get("label", "")]
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str) and field.type in ("text", "html") else []
