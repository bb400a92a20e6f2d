"""Skip accounting: a test that quietly did not run is not a test that passed.

A pytest plugin, loaded by pyproject.toml. At the end of a run it prints every skip with its reason. With CI=true a skip
fails the run when what it missed could have been had on this machine: the table PREREQUISITES says what counts as
missed and when it could have been there. Skips that name none of these (an optional oracle, another interpreter) are
printed and accepted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

SHARED = Path(__file__).parents[2] / "shared"


class Prerequisite(NamedTuple):
    """Something a test may need from the machine."""

    name: str
    words: re.Pattern[str]  # found in the reason of a skip that misses it
    could_be_had: Callable[[], bool]


def apt_works() -> bool:
    """Whether .ci/run could install packages here."""
    return os.environ.get("NEXTBEST_CI_APT") == "true"


PREREQUISITES = (
    Prerequisite("a server", re.compile(r"\b(server|valkey|redis|cluster)\b", re.I), lambda: True),
    Prerequisite("chromium", re.compile(r"\b(chromium|browser|playwright)\b", re.I), apt_works),
    Prerequisite("../shared", re.compile(r"\b(shared|suites?|data)\b", re.I), SHARED.is_dir),
)


class Skip(NamedTuple):
    """One test that did not run."""

    test: str
    reason: str

    @property
    def missed(self) -> str | None:
        """The prerequisite that was missed although it could have been had, by name."""
        for prerequisite in PREREQUISITES:
            if prerequisite.words.search(self.reason) and prerequisite.could_be_had():
                return prerequisite.name
        return None


class SkipAccount:
    """Collects the skips of a run, from the workers of xdist as well, and settles them at its end."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.skips: list[Skip] = []

    @property
    def faults(self) -> list[Skip]:
        return [skip for skip in self.skips if skip.missed] if self.strict else []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.note(report)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure also reports as skipped, but it did run.
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skips.append(Skip(report.nodeid, reason.removeprefix("Skipped: ")))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.faults and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.skips:
            return
        terminalreporter.section("skipped")
        for skip in sorted(set(self.skips)):
            verdict = f"FAILED, {skip.missed} could have been had" if skip in self.faults else "accepted"
            terminalreporter.write_line(f"{skip.test}: {skip.reason} [{verdict}]")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # only the controller sees every report
        config.pluginmanager.register(SkipAccount(strict=os.environ.get("CI") == "true"), "skip-account")
