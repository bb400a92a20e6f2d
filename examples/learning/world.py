"""World: contacts of the simulated bank, and three truths about who says yes.

A contact is a customer of examples/retail_bank/population.py in a channel, on the web also on a page. The truths:

- interactions  the hidden truth of examples/retail_bank as it is: steps, humps and products of traits, none of which
                a model that is linear in the encoded features can express
- form          the linear part of it: what such a model could know at best, with every effect of that size
- drift         the hidden truth, while the base rate of every action swings and half of what moves its customers turns
                into what moves another action's customers

Customers, and what drifts, are drawn anew from each seed. Models see contacts and answers, never this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.retail_bank import population
from examples.retail_bank.past import ACTIONS, CHANNEL_SHARES, HOME_SHARE, LOGGED, VALUES
from examples.retail_bank.truth import PAGE_GROUPS, true_propensity
from models.features import Feature, learn

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TRUTHS = ("form", "interactions", "drift")
CONTACT_COUNT = 10_000
DAYS = 200.0  # that a simulation lasts, however many decisions it makes
NOTHING_VALUE = 0.05  # euro, what the bank's own words are worth in the place of an offer
RIDGE = 10.0  # `form`: keeps columns that hardly occur from being given absurd effects
SWING, SWING_DAYS = 0.4, 150.0  # `drift`: of the log-odds of each base rate, up and down, and how long there and back


@dataclass(frozen=True, slots=True)
class World:
    """Contacts that come again and again, and the truth about them."""

    columns: Mapping[str, NDArray[Any]]  # by attribute path, one entry per contact
    features: tuple[Feature, ...]
    actions: tuple[str, ...]
    value: Floats  # [actions] of one acceptance, euro
    log_odds: Floats  # [contacts, actions] on day 0
    log_odds_late: Floats  # [contacts, actions] what they have turned into on the last day
    phase: Floats | None  # [actions] of the swing of base rates, None where nothing swings

    def chances(self, contacts: Ints, day: Floats) -> Floats:
        """float64[n, actions]: the true chance of a yes of these contacts, each on its day."""
        done = (day / DAYS)[:, None]
        log_odds = (1.0 - done) * self.log_odds[contacts] + done * self.log_odds_late[contacts]
        if self.phase is not None:
            swing = np.sin(2.0 * np.pi * day[:, None] / SWING_DAYS + self.phase) - np.sin(self.phase)
            log_odds = log_odds + SWING * swing
        return 1.0 / (1.0 + np.exp(-log_odds))


def world_of(truth: str, seed: int) -> World:
    """One of TRUTHS, drawn from the seed."""
    rng = np.random.default_rng(seed)
    customers = population.draw(rng, CONTACT_COUNT)
    channel = rng.choice(list(CHANNEL_SHARES), CONTACT_COUNT, p=list(CHANNEL_SHARES.values())).astype(object)
    page = rng.choice(list(PAGE_GROUPS), CONTACT_COUNT).astype(object)
    page[rng.random(CONTACT_COUNT) < HOME_SHARE] = "home"
    page[channel != "web"] = None
    columns = {f"customer.{name}": customers[name] for name in LOGGED} | {"channel": channel, "context.page": page}
    features = tuple(Feature(path, _kind(column)) for path, column in columns.items())
    columns = {path: _flags(column) if _kind(column) == "flag" else column for path, column in columns.items()}
    phase = rng.uniform(0.0, 2.0 * np.pi, len(ACTIONS)) if truth == "drift" else None
    log_odds = _hidden(customers, channel, page)
    if truth == "form":
        log_odds = _linear_part(log_odds, columns, features)
    late = _turned(rng, log_odds) if truth == "drift" else log_odds
    return World(columns, features, ACTIONS, VALUES, log_odds, late, phase)


def _kind(column: NDArray[Any]) -> str:
    if column.dtype == object:
        return "categorical"
    return "flag" if np.isin(column[~np.isnan(column)], (0.0, 1.0)).all() else "numeric"


def _flags(column: NDArray[Any]) -> NDArray[Any]:
    return np.array([None if np.isnan(value) else bool(value) for value in column.tolist()], dtype=object)


def _linear_part(log_odds: Floats, columns: Mapping[str, NDArray[Any]], features: tuple[Feature, ...]) -> Floats:
    """The least squares fit on the encoded columns that actions may deviate in."""
    encoder = learn(features, columns)
    encoded = encoder.encode_table(columns)[:, ~encoder.is_band]
    normal = encoded.T @ encoded + RIDGE * np.eye(encoded.shape[1])
    fitted: Floats = encoded @ np.linalg.solve(normal, encoded.T @ log_odds)
    return fitted


def _hidden(customers: population.Columns, channel: NDArray[Any], page: NDArray[Any]) -> Floats:
    log_odds = np.empty((len(channel), len(ACTIONS)))
    for name in CHANNEL_SHARES:
        rows = np.flatnonzero(channel == name)
        chance = true_propensity({key: column[rows] for key, column in customers.items()}, ACTIONS, name, page[rows])
        log_odds[rows] = np.log(chance / (1.0 - chance))
    return log_odds


def _turned(rng: np.random.Generator, log_odds: Floats) -> Floats:
    """Half of what moves the customers of an action, replaced by what moves another action's."""
    mean = log_odds.mean(axis=0)
    moves = log_odds - mean
    return mean + 0.5 * moves + 0.5 * moves[:, rng.permutation(len(ACTIONS))]
