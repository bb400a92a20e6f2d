"""Functions stay short enough to be read at once. The bound only ever tightens."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "decisioning", "models", "rules", "loadtest", "examples")
LINES_MAX = 60


def function_lengths(file: Path) -> list[tuple[int, str]]:
    """Length in lines, and `file:line name`, of every function of a file."""
    functions = [
        node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
        for node in functions
    ]


def test_no_function_is_longer_than_the_bound() -> None:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]

    too_long = [(lines, where) for file in files for lines, where in function_lengths(file) if lines > LINES_MAX]

    assert too_long == []


def test_the_main_path_fits_one_screen() -> None:
    lengths = {where.split()[-1]: lines for lines, where in function_lengths(ROOT / "decisioning/decide.py")}

    assert lengths["decide"] <= 45
