"""Models: arrays in, arrays out. Serving imports only this; `models.train` brings the training libraries."""

from models.artifact import load as load_artifact
from models.artifact import load_report
from models.artifact import save as save_artifact
from models.errors import ArtifactFaulty, InvalidFeature, InvalidTable, LeakSuspected, MetricUndefined, ModelError
from models.features import Feature
from models.propensity import Posterior, PropensityModel, Scores

__all__ = [
    "ArtifactFaulty",
    "Feature",
    "InvalidFeature",
    "InvalidTable",
    "LeakSuspected",
    "MetricUndefined",
    "ModelError",
    "Posterior",
    "PropensityModel",
    "Scores",
    "load_artifact",
    "load_report",
    "save_artifact",
]
