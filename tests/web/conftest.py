"""A site and the service on ports of their own, and a real Chromium that visits the site."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.api.desk import Desk
from tests.browser import chromium, serving, watched
from tests.web.pages import window_bank

__all__ = ["chromium"]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
STRICT = (
    "default-src 'none'; script-src {service}; style-src 'self'; img-src 'self' https:; connect-src 'self' {service}"
)
STYLE = """
body { margin: 0; font: 16px/1.5 sans-serif; }
.hero { display: block; padding: 20px; border: 1px solid; }
.hero img { width: 120px; height: 40px; }
"""
HERO = """
<section class="hero" data-nextbest="web.hero">
<h1 data-nextbest-field="headline">Our own</h1>
<div data-nextbest-field="body">Our own words, <i>as written</i></div>
<img data-nextbest-field="image" src="/own.png" alt="Our own picture">
<ul data-nextbest-field="points"><li>One</li></ul>
<a data-nextbest-field="cta" href="/own">Our own link</a>
</section>
"""


class Site:
    """A bank's web site: pages by path, under a strict policy that allows the service's script and nothing inline."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.service = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                kind, body = site.answer(path)
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.send_header("content-security-policy", STRICT.format(service=site.service))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # browsers leave before they have read
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str) -> tuple[str, bytes]:
        """Type and body of a path."""
        if path.endswith(".png"):
            return "image/png", PNG
        if path.endswith(".css"):
            return "text/css", STYLE.encode()
        return "text/html; charset=utf-8", self.pages.get(path, "").encode()

    def put(self, path: str, body: str, *, script: str = "") -> str:
        """A page with the snippet on it; gives its address."""
        head = "<!doctype html><html lang=en><title>Bank</title><link rel=stylesheet href=/style.css>"
        snippet = f"<script src='{self.service}/nextbest.js' {script} async></script>"
        self.pages[path] = f"{head}<body>{body}<p id=below>What stands below</p>{snippet}</body></html>"
        return self.origin + path


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    """The service, which pages of the site may ask; tests change its store under it."""
    made = Desk(bank=window_bank(site.origin))
    made.service.settings = replace(made.service.settings, deadline_ms=10_000)  # a busy test machine is no trouble
    with serving(made) as url:
        site.service = url
        yield made


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A page of a fresh browser profile; whatever is thrown in it, or stopped by its policy, fails the test."""
    context = chromium.new_context()
    faults = watched(context, may_be_unreachable=True)
    context.route("https://bank.example/**", lambda route: route.fulfill(body=PNG, content_type="image/png"))
    yield context.new_page()
    context.close()
    assert faults == []
