"""A real Chromium at a served console, for tests of what only a browser can show."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.api.desk import Desk
from tests.console.office import Office

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_S = 20.0


@contextmanager
def serving(desk: Desk) -> Iterator[str]:
    """The desk's application on a port of its own; gives its address."""
    key = desk.store.put("token_key", "k1", b"k" * 32)  # the desk's, which a running server looks up
    with ThreadPoolExecutor(1) as elsewhere:  # Playwright keeps a loop running in this thread
        elsewhere.submit(asyncio.run, key).result()
    app = desk.http._transport.app  # type: ignore[attr-defined]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until_s = time.monotonic() + PATIENCE_S
    while not server.started and time.monotonic() < until_s:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def console_url() -> Iterator[str]:
    """A console in demo mode, where nobody is known yet."""
    with serving(Office(demo=True).desk) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no chromium at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        yield browser
        browser.close()
