"""What a child of `nextbest run` says while a bar is drawn: above the bar, never on its line."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from api.cli import bars, demo
from api.settings import Settings


class Terminal(StringIO):
    """Where a bar is drawn."""

    def isatty(self) -> bool:
        return True


async def test_what_a_quoted_child_says_stands_on_lines_of_its_own_above_the_bar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(bars, "Console", lambda stderr: Console(file=terminal, force_terminal=True, width=200))
    settings = Settings.from_environment({"NEXTBEST_DATA_DIR": str(tmp_path)})

    with bars.Bars() as drawn, demo.Child(["check", str(tmp_path / "gone")], "", settings, is_quoted=True) as child:
        drawn.of("customers")(1, 2)
        await child.follow()

    assert child.process.returncode == 2
    [error] = [line for line in terminal.getvalue().splitlines() if "does not exist" in line]
    assert "customers" not in error and error.rpartition("\x1b[2K")[2].startswith("Error: Invalid value")
