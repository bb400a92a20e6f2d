"""`python -m rules --cases FILE...`: run files of cases, print the failures and a count."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rules.cases import failure, load_cases


def main(arguments: list[str] | None = None) -> int:
    """Run the files named on the command line; 1 when a case failed."""
    parser = argparse.ArgumentParser(prog="python -m rules", description="Run cases of the rule language.")
    parser.add_argument(
        "--cases", nargs="+", required=True, type=Path, metavar="FILE", help="JSON lines, or a JSON list of cases"
    )
    passed = failed = 0
    for path in parser.parse_args(arguments).cases:
        for case in load_cases(path):
            reason = failure(case)
            passed, failed = passed + (reason is None), failed + (reason is not None)
            if reason is not None:
                print(f"{case.name}: {reason}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
