"""The trail: which version was current when, for whatever has a pointer, and how people name versions.

Strategies and models are switched in the same way: a pointer in the store, and a log with a line for every change of
it. The pointer is written before the log: a command that dies between the two leaves a version in force without a
line, never a line about a version that was not.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterable
from typing import Protocol

from decisioning.errors import VersionMissing

ROLLBACK = "rollback"
SHORT = 12  # digits of a version that people are shown


class Step(Protocol):
    """One line of a log: a version became current."""

    @property
    def version(self) -> str:
        """The version."""
        ...

    @property
    def how(self) -> str:
        """By which command; only ROLLBACK matters here."""
        ...


def version_before(log: Iterable[Step], current: str) -> str | None:
    """What a rollback goes to. Rolling back twice goes two steps back, not back and forth."""
    trail: list[str] = []
    for each in log:
        if each.how == ROLLBACK and each.version in trail:
            while trail[-1] != each.version:
                trail.pop()
        elif trail[-1:] != [each.version]:
            trail.append(each.version)
    if current in trail:  # a change was made without its line in the log, or hosts' clocks put the lines out of order
        while trail[-1] != current:
            trail.pop()
    else:
        trail.append(current)
    return trail[-2] if len(trail) > 1 else None


def full_version(text: str, versions: Iterable[str], *, of: str) -> str:
    """The one version that begins like this; `of` is strategy or model. Raises VersionMissing for none or several."""
    found = [each for each in versions if text and each.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        among = ", ".join(each[: max(SHORT, len(text) + 4)] for each in found)
        raise VersionMissing(f"{text!r} is the beginning of several versions: {among}. Write more of it.")
    shown_by = {"strategy": "strategies", "model": "models"}[of]
    raise VersionMissing(f"no {of} here begins with {text!r}. `nextbest {shown_by} list` shows them.")


def whoami() -> str:
    """user@host, as the log names who ran a command."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
