"""Functions stay short enough to be read at once. The bound only ever tightens."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "decisioning", "loadtest", "models", "rules", "examples")
LINES_MAX = 60


def function_lengths(file: Path) -> list[tuple[int, str]]:
    """Length in lines, and `file:line name`, of every function of a file."""
    nodes = ast.walk(ast.parse(file.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    where = file.relative_to(ROOT)
    return [((each.end_lineno or 0) - each.lineno + 1, f"{where}:{each.lineno} {each.name}") for each in functions]


def test_no_function_is_longer_than_the_bound() -> None:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]

    too_long = [(lines, where) for file in files for lines, where in function_lengths(file) if lines > LINES_MAX]

    assert too_long == []


def test_the_main_path_fits_one_screen() -> None:
    lengths = {where.split()[-1]: lines for lines, where in function_lengths(ROOT / "decisioning/decide.py")}

    assert lengths["decide"] <= 45
