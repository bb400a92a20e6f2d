"""The example explores: what its draws choose is as frequent as the probability they put on record, to the letter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from decisioning import draws
from decisioning.catalog.load import load_directory
from decisioning.catalog.strategy import Strategy
from decisioning.customer import Consent, Profile, Snapshot, SourceFacts, State
from decisioning.decide import decide
from decisioning.request import Request
from decisioning.scoring import ModelScorer, load_model
from decisioning.training import train_model
from decisioning.volume import unspent
from examples.retail_bank.generate import generate, write_history

BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
END = datetime(2026, 11, 1, tzinfo=UTC)
END_MS = int(END.timestamp()) * 1000
PLACES = ("web.home.hero", "web.home.tile")
SEEDS = range(100, 105)  # of 20,000 customers each; the model was trained on none of them

Floats = NDArray[np.float64]


class Tally:
    """How often each action, and nothing, was drawn, beside how often the probabilities on record foretold it.

    Customers differ in their candidates and probabilities, so the counts are sums of unlike draws. Their covariance is
    the sum of the draws' own, and the squared distance, measured by it, is chi-square with one degree of freedom for
    each outcome, one less where they are all.
    """

    def __init__(self, outcome_count: int) -> None:
        self.draw_count = 0
        self.distance = np.zeros(outcome_count)
        self.covariance = np.zeros((outcome_count, outcome_count))

    def add(self, outcomes: NDArray[np.int64], probabilities: Floats, drawn: int) -> None:
        self.draw_count += 1
        self.distance[outcomes] -= probabilities
        self.distance[drawn] += 1.0
        self.covariance[outcomes, outcomes] += probabilities
        self.covariance[np.ix_(outcomes, outcomes)] -= np.outer(probabilities, probabilities)

    def p_value(self) -> float:
        """How often chance alone strays this far, over the outcomes whose counts vary enough to be nearly normal."""
        common = np.flatnonzero(np.diagonal(self.covariance) >= 20.0)
        distance, covariance = self.distance[common], self.covariance[np.ix_(common, common)]
        squared = distance @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ distance
        return float(chi2.sf(squared, np.linalg.matrix_rank(covariance, rtol=1e-9, hermitian=True)))


@pytest.mark.proof
def test_over_100000_customers_each_outcome_is_as_frequent_as_its_probability_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = load_directory(BANK)
    scorer = trained_scorer(strategy, tmp_path)
    nothing = len(strategy.actions)
    drawn_from: dict[str, tuple[NDArray[np.int64], Floats]] = {}
    monkeypatch.setattr(draws, "chances", noting(draws.chances, drawn_from, nothing))
    tallies = {name: Tally(nothing + 1) for name in PLACES}
    explored, weights, gap = 0, [], 0.0
    for snapshot in customers(strategy):
        drawn_from.clear()
        request = Request(snapshot.customer_key, "web", PLACES)
        decision = decide(request, snapshot, strategy, scorer, decision_id="d")
        for placed in decision.placements:
            if placed.placement not in drawn_from:
                continue  # the holdout, the random arm, or a service message: no draw that explores
            outcomes, probabilities = drawn_from[placed.placement]
            index = nothing if placed.action is None else strategy.action_index[placed.action]
            (at,) = np.flatnonzero(outcomes == index)
            assert placed.selection_probability == probabilities[at]
            gap = max(gap, abs(float(probabilities.sum()) - 1.0))
            tallies[placed.placement].add(outcomes, probabilities, index)
            explored += placed.reasons[0] == "explored"
            weights.append(1.0 / placed.selection_probability)

    p_values = {name: tally.p_value() for name, tally in tallies.items()}
    draw_count = sum(tally.draw_count for tally in tallies.values())
    with capsys.disabled():
        print(
            f"\n{draw_count} draws, {explored} explored, largest weight {max(weights):.0f}, p {p_values}, gap {gap:.1e}"
        )
    assert draw_count > 100_000 and gap < 1e-12
    assert min(p_values.values()) > 0.01


def noting(
    chances: Callable[..., Any], noted: dict[str, tuple[NDArray[np.int64], Floats]], nothing: int
) -> Callable[..., Any]:
    """`chances`, which also notes the outcomes (action indexes, and nothing) and their probabilities."""

    def chances_noted(filling: Any, placement: Any, *rest: Any) -> Any:
        at, probabilities = chances(filling, placement, *rest)
        noted[placement.name] = np.append(placement.candidates.action_index[at], nothing), probabilities
        return at, probabilities

    return chances_noted


def trained_scorer(strategy: Strategy, folder: Path) -> ModelScorer:
    write_history(generate(seed=7, count=3000, end=END)[1], folder / "history.parquet")
    history = [folder / "history.parquet"]
    trained = train_model(history, BANK / "mapping.yaml", folder, lambda what, done, total: None, strategy=strategy)
    return ModelScorer(strategy, load_model(folder / trained.version))


def customers(strategy: Strategy) -> Iterator[Snapshot]:
    """Generated customers as the store would have them."""
    for seed in SEEDS:
        for number, row in enumerate(generate(seed=seed, count=20_000, end=END)[0]):
            person = f"{seed}-{number}"
            profile, consents = Profile(), []
            for name, value in row.items():
                if name.startswith("consent."):
                    _, channel, purpose = name.split(".")
                    consents.append(Consent(channel, purpose, value, END_MS, 1))
                elif name != "customer_id":
                    source = strategy.schema.attributes[f"customer.{name}"].source or "crm"
                    profile.sources.setdefault(source, SourceFacts(END_MS, {})).attributes[name] = value
            state = State(person_key=person, assignment_key=person, sealing_key="", consents=consents)
            yield Snapshot(person, END_MS, 1, profile, state, unspent(strategy, now_ms=END_MS))
