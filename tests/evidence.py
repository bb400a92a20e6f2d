"""Runs the commands behind the claims of docs/evidence.md: `python -m tests.evidence [claim …]`, as `make prove` does.

A claim is a section of that page, headed by its id, with one shell block and the lines Figures, Hardware and Date. It
holds when its command exits with 0. Commands run in the project's root with the environment's programs first on PATH;
their output is shown, because it contains today's figures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "evidence.md"
COMMAND_SECONDS_MAX = 3600

HEADING = re.compile(r"^## (?P<id>[a-z][a-z-]*\.\d+[a-z]?)\s*$", re.M)
BLOCK = re.compile(r"^```sh\n(?P<command>.*?)^```$", re.M | re.S)
FACT = re.compile(r"^- (?P<name>Figures|Hardware|Date): (?P<text>.+(?:\n  .+)*)$", re.M)


class PageFaulty(ValueError):
    """The page of claims does not follow its own format."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing we say about the software, and the command that shows it."""

    claim_id: str
    text: str
    command: str
    figures: str
    hardware: str
    date: str


def read_claims(page: str) -> list[Claim]:
    """All claims in the page's order. Raises PageFaulty for an incomplete or repeated one."""
    parts = HEADING.split(page)
    claims = [claim_of(claim_id, body) for claim_id, body in zip(parts[1::2], parts[2::2], strict=True)]
    ids = [claim.claim_id for claim in claims]
    if len(set(ids)) < len(ids):
        raise PageFaulty(f"a claim id occurs twice: {sorted(each for each in set(ids) if ids.count(each) > 1)}")
    return claims


def claim_of(claim_id: str, body: str) -> Claim:
    blocks = BLOCK.findall(body)
    facts = {found["name"]: " ".join(found["text"].split()) for found in FACT.finditer(body)}
    if len(blocks) != 1:
        raise PageFaulty(f"claim {claim_id}: {len(blocks)} shell blocks, write exactly one")
    if missing := {"Figures", "Hardware", "Date"} - facts.keys():
        raise PageFaulty(f"claim {claim_id}: no line '- {sorted(missing)[0]}: …'")
    text = " ".join(body.split("```sh")[0].split())
    if not text:
        raise PageFaulty(f"claim {claim_id}: says nothing before its command")
    return Claim(claim_id, text, blocks[0].strip(), facts["Figures"], facts["Hardware"], facts["Date"])


def holds(claim: Claim) -> bool:
    """Run the claim's command; its output goes where ours goes."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", claim.command],
            cwd=ROOT,
            env={**os.environ, "PATH": path},
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"{claim.claim_id}: no end after {COMMAND_SECONDS_MAX} s", flush=True)
        return False
    return done.returncode == 0


def prove(claims: Sequence[Claim]) -> bool:
    """Run every claim, one after the other so that none disturbs another's figures, then print the verdicts."""
    verdicts = []
    for claim in claims:
        print(f"\n── {claim.claim_id}: {claim.text}\n$ {claim.command}", flush=True)
        began = time.monotonic()
        held = holds(claim)
        verdict = "passed" if held else "FAILED"
        verdicts.append((held, f"{claim.claim_id:<16} {verdict} {time.monotonic() - began:8.1f} s"))
    print("\n" + "\n".join(line for _, line in verdicts))
    held_count = sum(held for held, _ in verdicts)
    print(f"{held_count} of {len(verdicts)} claims hold")
    return held_count == len(verdicts)


def main(wanted: Sequence[str]) -> int:
    claims = read_claims(PAGE.read_text())
    known = {claim.claim_id: claim for claim in claims}
    if unknown := [claim_id for claim_id in wanted if claim_id not in known]:
        print(f"unknown claim {unknown[0]!r}. Known: {', '.join(known)}", file=sys.stderr)
        return 2
    return 0 if prove([known[claim_id] for claim_id in wanted] or claims) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
