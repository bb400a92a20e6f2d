"""Rules of simulated actions: limits, flags and lists that let a stated share of customers pass.

Written so that `nextbest check` has nothing to say: limits lie inside what the schema allows, and no action asks twice
about one attribute.
"""

from __future__ import annotations

from collections.abc import Sequence

from decisioning.simulated.attributes import HELD, Attribute
from decisioning.simulated.draws import Draws

PASSING = (0.7, 0.75, 0.8, 0.85, 0.9)  # shares of customers that a limit lets pass
PER_OFFER = 3  # rules of its own, beside those that all offers share
GUARDED_SHARE = 0.1  # of limits that let those pass of whom the attribute is not known

OFFER_ELIGIBILITY = ("customer.age >= 18", "!customer.in_arrears")
NOT_AGAIN = 'history.count("accepted", "action", duration("8760h")) == 0'
SHARED = ("age", "in_arrears")  # attributes that every offer asks about already


def own_rules(draws: Draws, known: Sequence[Attribute]) -> list[str]:
    """What one offer asks beside what all of them do: each about another attribute."""
    open_to = [each for each in known if each.name not in (*SHARED, "first_name", "language")]
    chosen: dict[str, Attribute] = {}
    while len(chosen) < min(PER_OFFER, len(open_to)):
        attribute = draws.early(open_to)
        chosen[attribute.name] = attribute
    return [rule(draws, each) for each in chosen.values()]


def rule(draws: Draws, attribute: Attribute) -> str:
    """One condition that most customers meet."""
    path, passing = f"customer.{attribute.name}", draws.one(PASSING)
    if attribute.kind == "bool":
        return path if attribute.share >= 0.5 else f"!{path}"
    if attribute.kind == "string":
        return f'{path} != "{draws.one(attribute.levels)}"'
    if attribute.kind == "list<string>":
        return f'!("{draws.one(HELD)}" in {path})'
    if attribute.kind == "timestamp":
        return f'now - {path} < duration("{24 * draws.whole(200, 400)}h")'
    return _limit(draws, attribute, path, passing)


def _limit(draws: Draws, attribute: Attribute, path: str, passing: float) -> str:
    is_upper = draws.chance(0.5)
    limit = attribute.at(passing if is_upper else 1.0 - passing)
    if limit <= attribute.at(0.0) or limit >= attribute.at(1.0):  # a count that most have none of
        is_upper, limit = True, attribute.at(passing)
        limit = max(limit, attribute.at(0.0) + 1)
    condition = f"{path} {'<=' if is_upper else '>='} {limit}"
    return f"!has({path}) || {condition}" if draws.chance(GUARDED_SHARE) else condition
