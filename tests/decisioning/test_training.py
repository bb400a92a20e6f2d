"""Training as a strategy allows it: what it bars is out of the comparison with a previous model too."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from decisioning.history.training import TrainingTable
from decisioning.training import Terms, fit
from models.drift import Drift
from tests.decisioning.bank import FILES, GOLD, SILVER, strategy


def contacts(row_count: int = 1_500) -> TrainingTable:
    """The older accept more, whatever the income."""
    random = np.random.default_rng(0)
    age = random.uniform(18, 80, row_count)
    persons = [f"P-{row}" for row in range(row_count)]
    return TrainingTable(
        columns={"customer.age": age.tolist(), "customer.income": random.uniform(100, 900, row_count).tolist()},
        kinds={"customer.age": "numeric", "customer.income": "numeric"},
        actions=random.choice([GOLD, SILVER], row_count).tolist(),
        customer_ids=persons,
        persons=persons,
        labels=(random.random(row_count) < age / 100).astype(np.int8),
        order=None,
        value=None,
        logging_probability=None,
        excluded={},
        invalid={},
    )


def test_a_previous_model_is_compared_without_what_the_strategy_bars(tmp_path: Path) -> None:
    limited = {
        "schema.yaml": FILES["schema.yaml"].replace(
            "source: crm, personal: true}\n  tier", "source: crm, allowed_for: [service]}\n  tier"
        ),
        "actions/cards.yaml": FILES["actions/cards.yaml"].replace('    eligibility: ["customer.age >= 18"]\n', ""),
    }
    table, silent = contacts(), lambda what, done, total: None
    previous = fit(table, Terms(), tmp_path, silent).folder

    def drift(files: dict[str, str]) -> Drift:
        found = fit(table, Terms(previous=previous), tmp_path, silent, strategy=strategy(files)).report.drift
        assert found is not None
        return found

    allowed, barred = drift({}), drift(limited)

    assert allowed.auc is not None and barred.auc is not None
    assert allowed.auc.before > 0.65
    assert barred.auc.before < 0.55
