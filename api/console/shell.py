"""Shell: what all pages have around them, and how a template becomes a page.

Templates are files of ours and escape every value they insert. A later page hangs in by a line in NAVIGATION.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api.console.users import ADMIN, AGENT, ANALYST

HOME = Path(__file__).parent
STATIC = HOME / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of the navigation."""

    text: str
    path: str
    roles: frozenset[str]


NAVIGATION = (
    Link("Customers", "/console/agent", frozenset({AGENT, ANALYST, ADMIN})),
    Link("Preview", "/console/preview", frozenset({ANALYST, ADMIN})),
    Link("Snippets", "/console/snippets", frozenset({ANALYST, ADMIN})),
    Link("API", "/docs", frozenset({ANALYST, ADMIN})),
)
FILES = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir())}
VERSIONS = {name: sha256(body).hexdigest()[:12] for name, body in FILES.items()}


def static(name: str) -> str:
    """The address of a file of ours; it changes with the file, so that browsers may keep it for ever."""
    return f"/console/static/{name}?v={VERSIONS[name]}"


def rendered(template: str, **values: Any) -> str:
    """A template with these values, each escaped where it lands."""
    return _environment.get_template(template).render(values)


_environment = Environment(
    loader=FileSystemLoader(HOME / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals |= {"static": static, "navigation": NAVIGATION}
