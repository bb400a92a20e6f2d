"""Skips are printed with their reason; in CI they fail the run when what they missed could have been had."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.skip(reason="needs chromium")
def test_page(): ...

@pytest.mark.skip(reason="needs an optional oracle")
def test_oracle(): ...

@pytest.mark.xfail
def test_expected(): assert False

def test_server(): {server}
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a pytest of its own over TESTS."""

    def run(*arguments: str, server: str = "...", ci: str = "true", apt: str = "false") -> pytest.RunResult:
        monkeypatch.setenv("CI", ci)
        monkeypatch.setenv("NEXTBEST_CI_APT", apt)
        pytester.makepyfile(TESTS.format(server=server))
        return pytester.runpytest_inprocess("-p", "tests.skips", *arguments)

    return run


def test_a_skip_for_want_of_a_server_fails_in_ci_only(run: Run) -> None:
    server = "pytest.skip('no server binary found')"

    in_ci = run("-n", "1", server=server)

    assert run(server=server, ci="false").ret == pytest.ExitCode.OK
    assert in_ci.ret == pytest.ExitCode.TESTS_FAILED
    in_ci.stdout.fnmatch_lines("*no server binary found [[]FAILED, a server could have been had[]]")


def test_a_skip_for_want_of_chromium_fails_where_apt_works(run: Run) -> None:
    assert run().ret == pytest.ExitCode.OK
    assert run(apt="true").ret == pytest.ExitCode.TESTS_FAILED


def test_every_skip_is_printed_with_its_reason_and_the_summary_comes_last(run: Run) -> None:
    lines = run().outlines

    assert any("needs an optional oracle [accepted]" in line for line in lines)
    assert any("needs chromium [accepted]" in line for line in lines)
    assert "1 passed, 2 skipped, 1 xfailed" in lines[-1]
