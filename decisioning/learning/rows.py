"""Rows: a trial's regressors, by the code that decided it.

Cold path. A record is opened with the customer's key and turned into the same moment, feature values and regressors as
when it was decided; columns that the action's purpose bars are zero here as they are in its pairing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decisioning.catalog.strategy import Strategy
from decisioning.learning.chain import Floats
from decisioning.learning.labels import Trial
from decisioning.moment import moment_of
from decisioning.records import open_record
from decisioning.scoring import Model


def regressors_of_trial(
    trial: Trial, origin: Mapping[str, Any], sealing_key: str, strategy: Strategy, model: Model
) -> Floats:
    """float64[model.width]. origin is the record of the decision that drew the trial, strategy the one it names.

    Raises SealBroken when the key is not the customer's, or what a value raises that the model cannot read.
    """
    recorded = open_record(origin, sealing_key, strategy)
    paths = strategy.features_among(model.features)
    reads = strategy.reads | strategy.attributes_behind(paths)
    regressors = model.regressors(moment_of(recorded.request, recorded.snapshot, strategy, reads).values(paths))
    barred = strategy.barred.get(trial.action)
    if barred:
        regressors[model.columns_barred(barred)] = 0.0
    return regressors
