"""Asking: one request for a mail's picture or link, taken apart: what it wants, by which token, and who makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from api.email.clients import Fetch, Form, client_class_of
from api.email.pace import Followed, Pace
from api.email.tokens import RenderToken, opened
from api.endpoint import Scope
from api.errors import Problem
from api.instants import wall_ms
from api.service import Service
from decisioning.opening import SCANNER, UNKNOWN, ClientClass

FORMS: Mapping[str, Form] = {"png": "image", "jpg": "image", "html": "html", "json": "json", "amp": "amp"}
DOUBLE = ".2x"  # before the ending: the picture for fine screens


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the last part of the path names."""

    raw_token: str
    form: Form
    scale: int = 1
    as_jpeg: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    wanted: Wanted
    token: RenderToken | None  # None: it does not open, has expired, or is used too fast
    placement: str  # of a token that opens, expired or not; else empty
    client_class: ClientClass
    headers: Mapping[str, str]
    source: str | None  # of AMP's first version
    base: str  # scheme and host that the request named


class Asking:
    """What a serving process remembers of those who asked just now."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._pace = Pace()
        self._followed = Followed()

    def asked(self, scope: Scope, wanted: Wanted) -> Asked:
        """The request behind a scope. Who is too fast is not looked at: that costs more than what is prepared."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        source = parse_qs(scope["query_string"].decode("latin-1")).get("__amp_source_origin", [None])[0]
        base = f"{scope['scheme']}://{headers.get('host', '')}"
        address = scope["client"][0] if scope.get("client") else ""
        found, token, now_ms = self._opened(wanted.raw_token), None, wall_ms()
        client_class: ClientClass = UNKNOWN
        if self._pace.allows_address(address):
            client_class = self._class(scope["method"], wanted.form, found, headers, address, now_ms)
            token = self._usable(found, client_class, now_ms)
        placement = "" if found is None else found.placement
        return Asked(scope["method"], wanted, token, placement, client_class, headers, source, base)

    def _opened(self, raw_token: str) -> RenderToken | None:
        if self._service.sealer is None:
            return None
        try:
            return opened(self._service.sealer, raw_token)
        except Problem:
            return None

    def _class(
        self,
        method: str,
        form: Form,
        token: RenderToken | None,
        headers: Mapping[str, str],
        address: str,
        now_ms: int,
    ) -> ClientClass:
        if form == "click" and token is not None:
            self._followed.note(address, token.token_id, now_ms=now_ms)
        links, age_ms = self._followed.count(address, now_ms=now_ms), None if token is None else now_ms - token.made_ms
        return client_class_of(Fetch(form, method, headers, age_ms, links))

    def _usable(self, token: RenderToken | None, client_class: ClientClass, now_ms: int) -> RenderToken | None:
        """The token, if it lives. Scanners use up the pace of their address alone: the person is still to come."""
        if token is None or token.expires_ms < now_ms:
            return None
        return token if client_class == SCANNER or self._pace.allows_token(token.token_id) else None


def picture_wanted(name: str) -> Wanted:
    """What /e/NAME asks for; an unknown ending is a picture, too: whoever shows it shows a picture."""
    stem, _, ending = name.rpartition(".")
    form = FORMS.get(ending.lower(), "image")
    return Wanted(stem.removesuffix(DOUBLE), form, 2 if stem.endswith(DOUBLE) else 1, ending.lower() == "jpg")


def link_wanted(name: str) -> Wanted:
    """What /c/NAME asks for."""
    return Wanted(name, "click")
