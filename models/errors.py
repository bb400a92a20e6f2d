"""Errors of the models: one tree, on one page. Messages say what, where and the way out."""


class ModelError(Exception):
    """Root of everything this package raises on purpose."""


class InvalidFeature(ModelError):
    """A feature is declared wrongly, or a value cannot be read as its declared kind."""


class InvalidTable(ModelError):
    """The training table cannot be learnt from: unequal lengths, unreadable labels, too few positives."""


class LeakSuspected(ModelError):
    """Single features nearly decide the label, as facts known before a decision rarely do; `auc` names them."""

    def __init__(self, auc: dict[str, float]) -> None:
        listed = ", ".join(f"{path} (AUC alone {value:.3f})" for path, value in auc.items())
        super().__init__(
            f"these features say too much about the label on their own: {listed}. "
            "Leave out what is known only after the decision; list under known_before what really is known before it."
        )
        self.auc = auc


class ArtifactFaulty(ModelError):
    """A stored model is damaged, was changed, or does not compute here what it computed when it was trained."""


class MetricUndefined(ModelError):
    """A figure has no value on these rows, such as an AUC without positives."""
