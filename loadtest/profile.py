"""Profile: where the server's CPU goes, sampled by py-spy from outside, for fresh decisions and for renders.

py-spy reads the memory of another process, which needs root, or `sysctl kernel.yama.ptrace_scope=0`. It stops the
process for each sample, so shares are to be believed and times are not.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from loadtest.accounting import other_core, pin
from loadtest.contest import Contestant, ours
from loadtest.flames import Stacks, flame_graph
from loadtest.machine import machine
from loadtest.measuring import started
from loadtest.peers.environment import python_of
from loadtest.report import head, in_columns, write
from loadtest.service import bank_of, prepare, serving

SAMPLES_PER_SECOND = 250
BATCH = 200  # requests between looks at whether the sampler has ended
LINE = re.compile(r"^(?P<stack>.*) (?P<count>\d+)$")
MAIN_THREAD = ": MainThread"  # at the end of the frame that py-spy puts before those of a thread
OURS = ("api/", "decisioning/", "models/", "rules/")
START = "api/cli/"  # below every other frame
ELSEWHERE = "event loop, HTTP, frameworks"
PLACES_TOLD = 25


def profile(options: argparse.Namespace) -> None:
    """Measure and report."""
    bank = bank_of(options)
    spy = python_of("profiler", options.cache).parent / "py-spy"
    prepared = prepare(bank, options.cache)
    before = machine()
    stacks: dict[str, Stacks] = {}
    with serving(prepared) as service:
        traffic = started(service, bank)
        contestants = {name.rpartition(" ")[2]: each for name, each in ours(service, traffic, BATCH).items()}
        for kind, contestant in contestants.items():
            stacks[kind] = _sampled(spy, contestant, options.seconds)
    places = {kind: places_of(each) for kind, each in stacks.items()}
    sizes = {
        kind: {"samples": sum(each.values()), "as_asked": round(contestants[kind].share_as_expected, 3)}
        for kind, each in stacks.items()
    }
    report = {**head("profile", before), "bank": str(bank), "sizes": sizes, "shares": places}
    svgs = {f"profile-{kind}": flame_graph(f"{kind}: {bank}", each) for kind, each in stacks.items()}
    told = [f"{kind}: {size['samples']:,} samples, {size['as_asked']:.0%} as asked" for kind, size in sizes.items()]
    write(options.out, "profile", report, "\n".join([str(bank), *told, "", table_of(places)]), svgs)


def _sampled(spy: Path, contestant: Contestant, seconds: float) -> Stacks:
    """Stacks of the main thread while it is asked flat out."""
    pid = contestant.roles["server"]
    with tempfile.NamedTemporaryFile(prefix="loadtest-", suffix=".raw") as raw:
        words = ["--pid", str(pid), "--duration", f"{seconds:.0f}", "--rate", str(SAMPLES_PER_SECOND), "--function"]
        command = [str(spy), "record", *words, "--threads", "--format", "raw", "--output", raw.name]
        sampler = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        pin([sampler.pid], other_core())
        while sampler.poll() is None:
            contestant.run()
        if sampler.returncode:
            assert sampler.stderr is not None
            sys.exit(f"py-spy failed; it needs root or kernel.yama.ptrace_scope=0:\n{sampler.stderr.read()}")
        return stacks_of(Path(raw.name).read_text())


def stacks_of(raw: str) -> Stacks:
    """py-spy's raw format: a line a stack, frames from the outermost on, separated by semicolons, and the samples."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in raw.splitlines():
        if match := LINE.match(line):
            thread, *frames = match["stack"].split(";")
            if thread.endswith(MAIN_THREAD):
                found[tuple(frames)] += int(match["count"])
    return found


def places_of(stacks: Stacks) -> dict[str, float]:
    """Share of samples by the innermost file of ours: libraries count for who called them."""
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        files = (frame.partition("(")[2].rpartition(":")[0] for frame in reversed(stack))
        ours = (file for file in files if file.startswith(OURS) and not file.startswith(START))
        counts[next(ours, ELSEWHERE)] += count
    return {place: round(count / counts.total(), 4) for place, count in counts.most_common()}


def table_of(places: dict[str, dict[str, float]]) -> str:
    """For people: the places that take most, in all kinds."""
    everywhere = Counter[str]()
    for shares in places.values():
        everywhere.update({place: round(share * 1e4) for place, share in shares.items()})
    rows = [["innermost file of ours", *places]]
    for place, _ in everywhere.most_common(PLACES_TOLD):
        rows.append([place, *(f"{shares.get(place, 0.0):.1%}" for shares in places.values())])
    return in_columns(rows)
