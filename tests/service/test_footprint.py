"""What a serving process weighs with a thousand actions, read from outside while it answers."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from random import Random

import httpx
import pytest

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.customer import Profile, SourceFacts
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.protocol import Change
from decisioning.store.redis import connect
from models import PropensityModel, save_artifact
from models.golden import golden_columns, golden_rows
from tests.bench.workload.models import actions, customers, encoder_of, forest_of, model_of, table
from tests.bench.workload.strategies import strategy_files
from tests.service.conftest import KEY, Installation

ACTION_COUNT = 1_000
CUSTOMER_COUNT = 600  # one decision each: a second one would render the first one's lease, without a score
MEMORY_MAX_MB = 150
NEVER_LOADED = ("sklearn", "scipy", "pandas", "duckdb")

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("form", ["linear", "boosted"])
def test_a_serving_process_with_a_thousand_actions_stays_under_150_mb(tmp_path: Path, form: str) -> None:
    version = saved(tmp_path / "models", form)
    with EmbeddedServer.start(tmp_path / "store") as server:
        asyncio.run(furnish(server.url, version))
        installed = Installation(tmp_path, server.url)
        installed.environment["NEXTBEST_MODELS_DIR"] = str(tmp_path / "models")
        try:
            process, base = installed.serve()
            scored = decide_for_all(base, version)
            heaviest = max(serving_processes(process), key=lambda pid: memory_mb(pid)["VmHWM"])
            mapped = Path(f"/proc/{heaviest}/maps").read_text()
            memory = memory_mb(heaviest)
        finally:
            installed.end()

    print(f"\n{form}: {memory['VmRSS']:.0f} MB, at most {memory['VmHWM']:.0f} MB; {scored} of {CUSTOMER_COUNT} scored")
    assert scored > CUSTOMER_COUNT / 2
    assert memory["VmHWM"] < MEMORY_MAX_MB
    assert [name for name in NEVER_LOADED if f"/{name}/" in mapped] == []
    assert "/numpy/" in mapped  # where the others would show up


def saved(folder: Path, form: str) -> str:
    """A model of all actions whose golden rows are its own; returns its version."""
    random, keys = Random(1), actions(ACTION_COUNT)
    encoder = encoder_of(table(random))
    forest = forest_of(encoder.width, random) if form == "boosted" else None
    bare = model_of(encoder, keys, forest)
    columns, asked = golden_columns(encoder, keys, forest)
    golden = golden_rows(columns, asked, bare.propensities_of_table(columns, asked))
    parts = (bare.encoder, bare.forest, bare.posterior, bare.prior_variances, golden, bare.evidence)
    return save_artifact(PropensityModel(*parts), folder)


async def furnish(url: str, version: str) -> None:
    """Publish a strategy of a thousand actions, point at the model, store the customers."""
    store, random = connect(url, deadline_ms=5000), Random(2)
    files = {path: text.encode() for path, text in strategy_files(random, ACTION_COUNT).items()}
    await publish_strategy(store, files, load_bundle(files))
    await store.put("current", "model", version.encode())
    people = customers(table(random, CUSTOMER_COUNT), random, CUSTOMER_COUNT)
    snapshots = await store.read([f"C-{number:05d}" for number in range(CUSTOMER_COUNT)])
    changes = []
    for person, snapshot in zip(people, snapshots, strict=True):
        own = {path.partition(".")[2]: value for path, value in person.items() if path.startswith("customer.")}
        profile = Profile({"core": SourceFacts(snapshot.now_ms, own)})
        changes.append(Change(snapshot.customer_key, 0, snapshot.state, profile))
    await store.commit(changes)
    await store.close()


def decide_for_all(base: str, version: str) -> int:
    """A decision for each customer; returns how many placed an offer that the model scored."""
    scored, random = 0, Random(3)
    with httpx.Client(base_url=base, headers=KEY, timeout=30) as http:
        for number in range(CUSTOMER_COUNT):
            body = {
                "customer": {"id": f"C-{number:05d}"},
                "channel": "web",
                "placements": ["web.hero"],
                "context": {"page": random.choice(["home", "cards"]), "device": "desktop"},
            }
            answer = http.post("/v1/decisions", json=body).raise_for_status().json()
            assert (answer["degraded"], answer["versions"]["model"]) == (False, version)
            scored += answer["placements"][0]["propensity"] is not None
    return scored


def serving_processes(process: subprocess.Popen[bytes]) -> list[int]:
    """The server's process and those it started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [process.pid, *map(int, children)]


def memory_mb(pid: int) -> dict[str, float]:
    """VmRSS, what a process holds now, and VmHWM, the most it ever held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return {name: int(kilobytes) / 1024 for name, kilobytes in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.M)}
