"""Contacts of the past: a table to train on, drawn from a hidden truth that is either linear or not.

Training itself chooses the form of a model by validation, so a linear or a boosted model is asked for by what there is
to find: a truth in which yes-or-no attributes and words add up, which a linear model says exactly, or one in which
amounts also act in pairs, which no line can follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import exp, log
from typing import Any

from decisioning.simulated.actions import Place
from decisioning.simulated.attributes import EPOCH, Attribute, quantiles
from decisioning.simulated.draws import Draws

FORMS = ("linear", "boosted")
ROWS_MIN = 10_000  # with fewer than 5,000 training takes trees when in doubt
ROWS_PER_ACTION = 15
DAYS = 500
BASE_RATE = 0.12
EFFECT, FAMILY_EFFECT = 0.4, 0.2  # log-odds between the middle of an attribute and its end, up or down
PAIR_EFFECT = 1.2
PAIRS = (("income_monthly", "app_active_days_30d"), ("age", "balance_avg_3m"))  # both high or both low, or neither
MOVING, FAMILY_MOVING = 8, 2  # attributes that matter to all, and to a family beside
REJECTED_SHARE = 0.1  # of contacts that were not accepted

CHANNEL_SHARES = (("web", 0.6), ("email", 0.25), ("call_center", 0.15))


def contacts(
    seed: int, all_places: Sequence[Place], known: Sequence[Attribute], *, customers: int, form: str
) -> Iterator[dict[str, Any]]:
    """Past contacts with offers, oldest first."""
    offers = [place for place in all_places if place.kind == "offer"]
    count = max(ROWS_MIN, ROWS_PER_ACTION * len(all_places))
    step_ms = DAYS * 86_400_000 // count
    start_ms = int(EPOCH.timestamp() * 1000) - DAYS * 86_400_000
    moving = tuple(each.name for each in known if each.is_feature and each.kind in ("bool", "string"))
    of_customer = cache(lambda number: quantiles(seed, number, known))
    for row in range(count):
        draws = Draws(seed, "contact", row)
        number, place = draws.whole(1, min(customers, count)), draws.one(offers)
        found = of_customer(number)
        of_feature = {
            each.name: (each, quantile) for each, quantile in zip(known, found, strict=True) if each.is_feature
        }
        position = {name: _position(each, at) for name, (each, at) in of_feature.items()}
        accepted = draws.chance(_chance(seed, place, position, moving, form))
        outcome = "accepted" if accepted else "rejected" if draws.chance(REJECTED_SHARE) else "no_response"
        values = {name: each.at(quantile) for name, (each, quantile) in of_feature.items() if quantile is not None}
        yield {
            "customer_id": f"C-{number:05d}",
            **values,
            "page": "home" if draws.chance(0.6) else place.family,
            "action": place.key,
            "channel": draws.drawn(CHANNEL_SHARES),
            "outcome": outcome,
            "at_ms": start_ms + row * step_ms,
        }


def mapping(known: Sequence[Attribute]) -> dict[str, Any]:
    """mapping.yaml: how the columns of the table read."""
    features = {f"customer.{each.name}": each.name for each in known if each.is_feature}
    return {
        "customer": {"column": "customer_id"},
        "features": {**features, "context.page": "page"},
        "action": {"column": "action"},
        "channel": {"column": "channel"},
        "outcome": {"column": "outcome", "positive": ["accepted"], "negative": ["no_response", "rejected"]},
        "time": {"column": "at_ms"},
    }


def _position(attribute: Attribute, quantile: float | None) -> float:
    """From -1 to 1: of a yes or no, of a word among the others, of a number among all customers; unknown is 0."""
    if quantile is None:
        return 0.0
    if attribute.kind == "bool":
        return 1.0 if attribute.at(quantile) else -1.0
    if attribute.kind == "string":
        return 2.0 * attribute.levels.index(attribute.at(quantile)) / (len(attribute.levels) - 1) - 1.0
    return 2.0 * quantile - 1.0


def _chance(seed: int, place: Place, position: Mapping[str, float], moving: tuple[str, ...], form: str) -> float:
    intercept, effects = _truth(seed, place.family, place.key, moving)
    log_odds = intercept + sum(effect * position[name] for name, effect in effects)
    if form == "boosted":
        log_odds += sum(PAIR_EFFECT * (1 if position[one] * position[other] > 0 else -1) for one, other in PAIRS)
    return 1.0 / (1.0 + exp(-log_odds))


@cache
def _truth(seed: int, family: str, key: str, names: tuple[str, ...]) -> tuple[float, list[tuple[str, float]]]:
    """Intercept of an action; effects of attributes on all families and on its own."""
    intercept = log(BASE_RATE / (1.0 - BASE_RATE)) + Draws(seed, "truth", key).uniform() - 0.5
    effects = _effects(Draws(seed, "truth"), names, MOVING, EFFECT)
    effects += _effects(Draws(seed, "truth", family), names, FAMILY_MOVING, FAMILY_EFFECT)
    return intercept, effects


def _effects(draws: Draws, names: Sequence[str], count: int, size: float) -> list[tuple[str, float]]:
    """Each of another attribute: several of one would add up to more than a prior expects of a line."""
    ranked = sorted(names, key=lambda name: draws.uniform())
    return [(name, draws.one((-size, size))) for name in ranked[:count]]
