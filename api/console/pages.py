"""Pages: the console on one page, one row each. An owner of a page is a role; no role: everybody."""

from __future__ import annotations

from api.console.agent import agent_page, agent_pulse, answer, why_not
from api.console.bank import apply, bank_page, product_page, pulse
from api.console.files import static_file
from api.console.inbox import follow, inbox_page
from api.console.page import SIGN_IN, Console, Page
from api.console.people import switch_person
from api.console.preview import preview_html, preview_page, preview_picture
from api.console.reference import reference_page
from api.console.sign_in import sign_in, sign_in_page, sign_out
from api.console.snippets import snippets_page
from api.console.start import start_page
from api.console.users import ADMIN, AGENT, ANALYST, ANSWERS
from api.service import Service

EVERYBODY: frozenset[str] = frozenset()
SIGNED_IN = frozenset({AGENT, ANALYST, ADMIN})


def pages(service: Service) -> list[Page]:
    """All pages of the console."""
    console = Console(service)
    return [
        Page(console, "GET", "/", EVERYBODY, start_page),
        Page(console, "GET", SIGN_IN, EVERYBODY, sign_in_page),
        Page(console, "POST", SIGN_IN, EVERYBODY, sign_in),
        Page(console, "POST", "/console/sign-out", SIGNED_IN, sign_out),
        Page(console, "GET", "/console/static/{name}", EVERYBODY, static_file),
        Page(console, "GET", "/console/agent", SIGNED_IN, agent_page),
        Page(console, "GET", "/console/agent/pulse", SIGNED_IN, agent_pulse, is_pulse=True),
        Page(console, "GET", "/console/agent/why", SIGNED_IN, why_not),
        Page(console, "POST", "/console/agent/answers", ANSWERS, answer),
        Page(console, "GET", "/console/preview", frozenset({ANALYST, ADMIN}), preview_page),
        Page(console, "GET", "/console/preview.html", frozenset({ANALYST, ADMIN}), preview_html),
        Page(console, "GET", "/console/preview.png", frozenset({ANALYST, ADMIN}), preview_picture),
        Page(console, "GET", "/console/snippets", frozenset({ANALYST, ADMIN}), snippets_page),
        Page(console, "GET", "/docs", EVERYBODY, reference_page),
        *demo_pages(console),
    ]


def demo_pages(console: Console) -> list[Page]:
    """What only a browser on this machine sees, and only in the demo."""
    return [
        Page(console, "GET", "/demo/bank", EVERYBODY, bank_page),
        Page(console, "GET", "/demo/product", EVERYBODY, product_page),
        Page(console, "GET", "/demo/inbox", EVERYBODY, inbox_page),
        Page(console, "GET", "/demo/follow", EVERYBODY, follow),
        Page(console, "GET", "/demo/pulse", EVERYBODY, pulse),
        Page(console, "POST", "/demo/customer", EVERYBODY, switch_person),
        Page(console, "POST", "/demo/answers", EVERYBODY, apply),
    ]
