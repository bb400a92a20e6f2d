"""Models for tests of the registry: one small training, and relatives of it that say a little more or less."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from models import Feature, PropensityModel, save_artifact
from models.propensity import GoldenRow, Posterior
from models.train import train
from tests.decisioning.bank import GOLD, SILVER

SOUND = {
    "rows": 3000,
    "positives": 700,
    "auc": 0.7,
    "auc_interval": (0.68, 0.72),
    "log_loss": 0.5,
    "brier": 0.1,
    "calibration_error": 0.012,
    "calibration_floor": 0.011,
    "calibration_slope": 1.0,
    "calibration_slope_interval": (0.9, 1.1),
}


@cache
def trained() -> PropensityModel:
    """Gold for the rich, silver for everybody."""
    rng = np.random.default_rng(1)
    income = rng.uniform(500, 6000, 1500)
    actions = rng.choice([GOLD, SILVER], 1500)
    chance = np.where(actions == GOLD, np.clip(income / 12_000, 0.02, 0.5), 0.15)
    columns = {"customer.income": list(income), "channel": list(rng.choice(["web", "email"], 1500))}
    features = [Feature("customer.income", "numeric"), Feature("channel", "categorical")]
    labels = (rng.random(1500) < chance).astype(float)
    return train(columns, actions=list(actions), labels=labels, features=features).model


def relative(shift: float) -> PropensityModel:
    """The trained model with every logit moved."""
    model = trained()
    means = model.posterior.means.copy()
    means[0, 0] += shift
    posterior = Posterior(model.posterior.nodes, means, model.posterior.variances)
    plain = PropensityModel(model.encoder, model.forest, posterior, model.prior_variances, [], model.evidence)
    golden = [replace(row, propensity=_says(plain, row)) for row in model.golden]
    return PropensityModel(model.encoder, model.forest, posterior, model.prior_variances, golden, model.evidence)


def saved(models_dir: Path, shift: float = 0.0, **figures: Any) -> str:
    """A relative's artifact with a sound report, but for these figures; returns its version."""
    return save_artifact(relative(shift), models_dir, report={"overall": {**SOUND, **figures}, "actions": []})


def _says(model: PropensityModel, row: GoldenRow) -> float:
    return float(model.paired([row.action]).scores(row.values).propensity[0])
