"""Errors of the deciding core: one tree, on one page.

The core never knows HTTP; `api/errors.py` holds the table of status codes. Messages say what, where and the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decisioning.catalog.faults import Fault


class NextbestError(Exception):
    """Root of everything this package raises on purpose."""


class StrategyFaulty(NextbestError):
    """A strategy directory has faults; all of them are in `faults`, none was applied."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class UnknownPlacement(NextbestError):
    """A request names a placement that the strategy does not have, or one of another channel."""


class UnknownChannel(NextbestError):
    """A request names a channel that the strategy does not have."""


class InvalidAttribute(NextbestError):
    """A customer or context attribute is unknown to the schema or breaks its type or quality rule."""


class ModelRefused(NextbestError):
    """A model artifact is damaged, or there is none under this version."""


class ReleaseRefused(NextbestError):
    """The release gate refuses a model; all its reasons are in `reasons`."""

    def __init__(self, version: str, reasons: Sequence[str]) -> None:
        lines = [f"model {version} is not released:", *(f"  {each}" for each in reasons)]
        way_out = f"`nextbest models promote {version} --override --by NAME --reason TEXT` does it, on record."
        super().__init__("\n".join([*lines, way_out]))
        self.reasons = tuple(reasons)


class VersionMissing(NextbestError):
    """A strategy or model that the registry points at is not here yet."""


class StateMissing(VersionMissing):
    """A state of a model is older than what is kept, or was learnt in part from somebody who was erased since."""


class RegistryDamaged(NextbestError):
    """An entry of the store's registry cannot be read."""


class SettingsFaulty(NextbestError):
    """A setting cannot be read; the process does not start."""


class StoreUnavailable(NextbestError):
    """The store did not answer in time; nothing is known about what it did with the last command."""


class Overtaken(NextbestError):
    """Another learner has written this number: what is in memory is stale, the store has the truth."""


class StoreDamaged(NextbestError):
    """Something in the store cannot be read; whoever asked is not to blame."""


class ContentUnknown(NextbestError):
    """A content expression met a missing value and has no default: the candidate drops out as `content_unknown`."""


class InvalidIdentifier(NextbestError):
    """A customer id is empty, too long, unprintable, or reads like an e-mail address or a telephone number."""


class SealBroken(NextbestError):
    """Sealed text does not open: another key, a damaged text, or none at all. After an erasure this is for ever."""


class TableFaulty(NextbestError):
    """A table file is missing, of an unknown format, unreadable at a named line, or lacks a column."""


class MappingFaulty(NextbestError):
    """A mapping file has faults; all of them are in `faults`, each with file, line and column."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class HistoryFaulty(NextbestError):
    """The history directory cannot be used as it is: its manifest is unreadable or names a file that is gone."""
