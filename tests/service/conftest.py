"""A real installation for tests: embedded server, published strategy, trained model, serving processes over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.customer import Profile, SourceFacts
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.protocol import Change
from decisioning.store.redis import connect
from models import Feature, save_artifact
from models.train import train
from tests.decisioning.bank import FILES, GOLD, SILVER

KEY = {"Authorization": "Bearer demo-key"}
CUSTOMER_COUNT = 300


class Installation:
    """Everything but the serving processes, which tests start and kill."""

    def __init__(self, data_dir: Path, url: str) -> None:
        self.data_dir = data_dir
        self.url = url
        self.environment = {
            **os.environ,
            "NEXTBEST_REDIS_URL": url,
            "NEXTBEST_DATA_DIR": str(data_dir),
            "NEXTBEST_DEADLINE_MS": "5000",  # a busy test machine is no reason to degrade
            "NEXTBEST_DEMO": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one `nextbest` command to its end."""
        words = (sys.executable, "-m", "api.cli", *words)
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=120)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one long-running command that ends with this test process."""
        command = [sys.executable, "-m", "api.cli", "--parent", str(os.getpid()), *words]
        process = subprocess.Popen(command, env=self.environment, start_new_session=True)
        self.processes.append(process)
        return process

    def serve(self, *, workers: int = 1) -> tuple[subprocess.Popen[bytes], str]:
        """Start a server and wait until it is ready; returns the process and its base URL."""
        port = free_port()
        process = self.start("serve", "--port", str(port), "--workers", str(workers))
        base = f"http://127.0.0.1:{port}"
        deadline_s, ready = time.monotonic() + 60, 0
        while ready < 5 * workers:  # connections spread over the workers, and each is ready on its own
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline_s, "the server was not ready within a minute"
            ready = ready + 1 if is_ready(base) else 0
        return process, base

    def end(self) -> None:
        """Kill what is still there."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def is_ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        time.sleep(0.05)
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def trained(folder: Path) -> str:
    """A small model: gold for the rich, silver for everybody; returns its version."""
    rng = np.random.default_rng(1)
    count = 3000
    income = rng.uniform(500, 6000, count)
    actions = rng.choice([GOLD, SILVER], count)
    chance = np.where(actions == GOLD, np.clip(income / 12_000, 0.02, 0.5), 0.15)
    columns = {"customer.income": list(income), "channel": list(rng.choice(["web", "email"], count))}
    features = [Feature("customer.income", "numeric"), Feature("channel", "categorical")]
    fitted = train(columns, actions=list(actions), labels=(rng.random(count) < chance).astype(float), features=features)
    return save_artifact(fitted.model, folder)


def write(folder: Path, files: dict[str, str]) -> Path:
    """A strategy directory with these files."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


async def furnish(url: str, model: str, texts: Mapping[str, str] = FILES) -> None:
    """Publish the strategy, promote the model, store the customers."""
    store = connect(url, deadline_ms=5000)
    files = {path: text.encode() for path, text in texts.items()}
    await publish_strategy(store, files, load_bundle(files))
    await store.put("current", "model", model.encode())
    keys = [f"C-{number:05d}" for number in range(1, CUSTOMER_COUNT + 1)]
    changes = []
    for number, snapshot in enumerate(await store.read(keys)):
        crm = SourceFacts(
            snapshot.now_ms, {"age": 20 + number % 60, "tier": "classic", "language": "en", "first_name": "Ann"}
        )
        core = SourceFacts(snapshot.now_ms, {"income": 500.0 + 20 * number, "suspicious": number % 10 == 0})
        changes.append(Change(snapshot.customer_key, 0, snapshot.state, Profile({"crm": crm, "core": core})))
    await store.commit(changes)
    await store.close()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("models")
    return folder, trained(folder)


@pytest.fixture
def installation(tmp_path: Path, model_dir: tuple[Path, str]) -> Iterator[Installation]:
    folder, model = model_dir
    with EmbeddedServer.start(tmp_path / "store") as server:
        asyncio.run(furnish(server.url, model))
        installed = Installation(tmp_path, server.url)
        installed.environment["NEXTBEST_MODELS_DIR"] = str(folder)
        try:
            yield installed
        finally:
            installed.end()
