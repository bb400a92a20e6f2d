"""Front: an endpoint found by its path alone answers as the route it also is."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from tests.api.desk import HERO, KEY, Desk


class Routed:
    """The slow twin: the same application, asked through its middlewares and routes."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await FastAPI.__call__(self._app, scope, receive, send)


def _ways(desk: Desk, *, root_path: str = "") -> list[httpx.AsyncClient]:
    app = desk.http._transport.app  # type: ignore[attr-defined]
    local = {"client": ("127.0.0.1", 1), "root_path": root_path}
    transports = [httpx.ASGITransport(each, **local) for each in (app, Routed(app))]  # type: ignore[arg-type]
    return [httpx.AsyncClient(transport=each, base_url="http://localhost", headers=KEY) for each in transports]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/decisions"),
        ("GET", "/v1/decisions"),
        ("DELETE", "/v1/responses"),
        ("POST", "/v1/responses"),
        ("POST", "/web/decisions"),
        ("OPTIONS", "/web/decisions"),
        ("POST", "/v1/decisions/"),
        ("GET", "/v1/customers/C-1"),
        ("GET", "/healthz"),
        ("GET", "/absent"),
    ],
)
async def test_every_path_is_answered_as_by_its_route(method: str, path: str) -> None:
    at_hand, routed = [await each.request(method, path, json={"odd": 1}) for each in _ways(Desk())]

    assert (at_hand.status_code, at_hand.text) == (routed.status_code, routed.text)
    assert at_hand.headers == routed.headers


async def test_a_decision_is_answered_both_ways() -> None:
    at_hand, routed = [(await each.post("/v1/decisions", json=HERO)).json() for each in _ways(Desk())]

    assert at_hand["placements"][0]["outcome"] == routed["placements"][0]["outcome"]


async def test_a_root_path_leads_to_the_same_endpoints() -> None:
    answers = [await each.post("/below/v1/decisions", json=HERO) for each in _ways(Desk(), root_path="/below")]

    assert [each.status_code for each in answers] == [200, 200]
