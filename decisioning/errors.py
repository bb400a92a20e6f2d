"""Errors of the deciding core: one tree, on one page.

The core never knows HTTP; `api/errors.py` holds the table of status codes. Messages say what, where and the way out.
"""


class NextbestError(Exception):
    """Root of everything this package raises on purpose."""


class StrategyFaulty(NextbestError):
    """A strategy directory has faults; all of them are in `faults`, none was applied."""

    def __init__(self, faults: "list[Fault]") -> None:  # noqa: F821 - decisioning.catalog.faults.Fault
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class UnknownPlacement(NextbestError):
    """A request names a placement that the strategy does not have, or one of another channel."""


class UnknownChannel(NextbestError):
    """A request names a channel that the strategy does not have."""


class InvalidAttribute(NextbestError):
    """A customer or context attribute is unknown to the schema or breaks its type or quality rule."""


class StoreUnavailable(NextbestError):
    """The store did not answer in time; nothing is known about what it did with the last command."""


class ContentUnknown(NextbestError):
    """A content expression met a missing value and has no default: the candidate drops out as `content_unknown`."""
