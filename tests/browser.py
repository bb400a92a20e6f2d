"""A real Chromium, driven by Playwright, and the application on a port of its own: for what only a browser can show.

What is waited for is an event or a state of the page, asked from outside, because the pages' own policies forbid to
evaluate inside. Screenshots are kept in build/screenshots/, for people to look at.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.api.desk import Desk

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
ROOT = Path(__file__).parents[1]
SHOTS = ROOT / "build" / "screenshots"
AXE = (ROOT / "tests" / "console" / "vendor" / "axe-core-4.14.1.min.js").read_text()
PATIENCE_S = 20.0  # far beyond what a busy machine takes
UNREACHABLE = "Failed to load resource"  # what Chromium writes to the console when an address does not answer with 2xx
SANDBOXED = "Blocked script execution in"  # a sandboxed frame keeps out the witness below, as any script

# In every page, before its own scripts: what the snippet told about each placement, which parts htmx has put in place,
# how far things moved by themselves, and what the page's policy stopped.
WITNESS = """
window.told = []; window.moved = 0; window.seen = new Set();
addEventListener("securitypolicyviolation", (event) =>
  console.error(`stopped by the policy: ${event.effectiveDirective} ${event.blockedURI}`));
for (const name of ["shown", "kept"]) addEventListener("nextbest:" + name, (event) => {
  window.seen.add(event.target);
  window.told.push([name, event.detail.why || event.detail.placement]);
});
addEventListener("htmx:afterSettle", (event) => window.seen.add(event.target));
new PerformanceObserver((list) => { for (const each of list.getEntries()) window.moved += each.value; })
  .observe({type: "layout-shift", buffered: true});
"""
SETTLED = """
document.readyState === "complete"
&& [...document.querySelectorAll("[data-nextbest], [hx-trigger=load]")].every((each) =>
  window.seen.has(each) || (each.dataset.nextbest && !document.querySelector("script[src*='nextbest.js']")))
&& !document.querySelector(".htmx-request")
&& [...document.images].every((each) => each.complete)
&& document.getAnimations().every((each) => each.playState === "finished")
"""


@contextmanager
def launched(**more: Any) -> Iterator[Any]:
    """Debian's Chromium; skips the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no chromium at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS, **more)
        yield browser
        browser.close()


@pytest.fixture(scope="module")  # not longer: while Playwright runs, no test of the process can run a loop of its own
def chromium() -> Iterator[Any]:
    """A browser; each test makes its own profile in it."""
    with launched() as browser:
        yield browser


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
    eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


def watched(context: Any, *, may_be_unreachable: bool = False) -> list[str]:
    """What goes wrong in a profile's pages from now on: errors of scripts and of the console, policies, dialogs."""
    faults: list[str] = []

    def hear(message: Any) -> None:
        is_allowed = message.text.startswith((SANDBOXED, UNREACHABLE) if may_be_unreachable else SANDBOXED)
        if message.type == "error" and not is_allowed:
            faults.append(message.text)

    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", hear)
    context.on("dialog", lambda dialog: faults.append(dialog.message))
    context.add_init_script(WITNESS)
    return faults


def eventually(claim: Callable[[], Any]) -> None:
    """Wait until a claim holds, and fail when it does not come to."""
    until_s = time.monotonic() + PATIENCE_S
    while not (held := claim()) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert held or claim()


def until(page: Any, claim: str) -> None:
    """Wait until an expression is true in the page."""
    eventually(lambda: page.evaluate(claim))


def settled(page: Any) -> None:
    """Wait until everything that a watched page fetches by itself has come, or failed, and stands still."""
    until(page, SETTLED)


def moved(page: Any) -> float:
    """How far things in a watched page have moved by themselves: its cumulative layout shift, two frames from now."""
    frames = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(told)))"
    page.evaluate(f"new Promise((told) => {frames})")
    return float(page.evaluate("window.moved"))


def shot(page: Any, name: str) -> None:
    """Keep what the page looks like."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def axe_violations(page: Any) -> list[str]:
    """What axe-core finds in the page, of any gravity."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run().then((report) => report.violations.map((each) => [each.id, each.nodes[0].html]))")
    return [f"{rule}: {html}" for rule, html in found]
