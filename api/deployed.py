"""Deployed: a strategy paired with a model, ready to decide; and who decides beside or instead of the current model."""

from __future__ import annotations

from dataclasses import dataclass

from decisioning.catalog.strategy import Strategy
from decisioning.experiments.assignment import draw
from decisioning.learning.model_state import ModelState
from decisioning.records import Versions
from decisioning.scoring import Model, ModelScorer, Scorer


@dataclass(frozen=True, slots=True)
class Challenge:
    """A model that decides for a share of persons."""

    deployed: Deployed
    share: float
    salt: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """One strategy paired with one model in one state."""

    strategy: Strategy
    scorer: Scorer
    versions: Versions
    shadow: Deployed | None = None  # scored and logged beside it, deciding nothing
    challenge: Challenge | None = None

    @property
    def deciders(self) -> tuple[Deployed, ...]:
        """This pair, and the challenger's."""
        return (self,) if self.challenge is None else (self, self.challenge.deployed)

    def for_person(self, assignment_key: str) -> Deployed:
        """The pair that decides for this person, today as yesterday: this one, or the challenger's."""
        challenge = self.challenge
        if challenge is not None and draw("challenger", challenge.salt, assignment_key) < challenge.share:
            return challenge.deployed
        return self


def pair(strategy: Strategy, model: Model, state: ModelState | None) -> Deployed:
    """Sum a model's weights for a strategy's actions: milliseconds for a thousand of them, so not between requests."""
    number = None if state is None else str(state.number)
    return Deployed(strategy, ModelScorer(strategy, model, state), Versions(strategy.version, model.version, number))
