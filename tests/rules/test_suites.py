"""The external suites, CEL's conformance cases and the business rules, through the runner of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rules.cases import Case, failure, load_cases

ROOT = Path(__file__).parents[2]
SUITES = ROOT.parent / "shared/suites"
# Not of our language, with the reason in docs/rules.md: optional values. The list may only shrink.
NOT_OURS = {"optionals"}


def suite_files() -> list[Path]:
    conformance = [path for path in sorted((SUITES / "cel").rglob("*.jsonl")) if path.stem not in NOT_OURS]
    return [*conformance, SUITES / "business-rules/cases.json"]


def cases() -> list[object]:
    if not SUITES.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"the shared suites are absent: {SUITES}"))]
    return [pytest.param(case, id=case.name) for path in suite_files() for case in load_cases(path)]


@pytest.mark.parametrize("case", cases())
def test_a_case_of_the_suites_passes(case: Case) -> None:
    assert failure(case) is None


def run_cases(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rules", "--cases", *map(str, files)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


def test_the_command_prints_one_line_per_failure_and_a_count_last(tmp_path: Path) -> None:
    rules = [
        {"note": "of age", "rule": "customer.age >= 18", "profile": {"customer": {"age": 18}}, "expect": True},
        {"note": "wrongly expected", "rule": "customer.age >= 18", "profile": {"customer": {}}, "expect": False},
    ]
    conformance = {"file": "basic", "section": "s", "name": "two", "expr": "1 + 1", "bindings": {}}
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    (tmp_path / "basic.jsonl").write_text(json.dumps({**conformance, "expect": {"value": {"int": 2}}}) + "\n")

    ran = run_cases(tmp_path / "rules.json", tmp_path / "basic.jsonl")

    assert ran.stdout.splitlines() == [
        'wrongly expected: expected false, got "unknown" (customer.age is missing)',
        "2 passed, 1 failed",
    ]
    assert ran.returncode == 1


def test_a_whole_number_does_not_pass_for_a_double(tmp_path: Path) -> None:
    case = {"file": "f", "section": "s", "name": "n", "expr": "1", "bindings": {}, "expect": {"value": {"double": 1.0}}}
    (tmp_path / "kinds.jsonl").write_text(json.dumps(case))

    (loaded,) = load_cases(tmp_path / "kinds.jsonl")

    assert failure(loaded) == 'expected {"double": "1.0"}, got {"int": 1}'
