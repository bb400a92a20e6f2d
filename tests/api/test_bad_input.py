"""Bad input of every kind gets a 4xx that says what, where and the way out; nothing makes a 500."""

from __future__ import annotations

import asyncio
import json
import re

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from api.errors import problem_of
from api.schemas import IN_WORDS, ConsentStatement, ResponseRequest
from api.web.schemas import VisitorRequest
from decisioning.identifiers import CUSTOMER_ID_PATTERN
from tests.api.desk import HERO, KEY, Desk

BODIES = {
    "no json": b"{",
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "not utf-8": b'{"customer": {"id": "\xff"}}',
    "deep": b"[" * 50_000,
    "a deep context": b'{"customer": {"id": "C-1"}, "channel": "web", "placements": ["web.hero"], "context": {"page": '
    + b"[" * 2000
    + b"]" * 2000
    + b"}}",
    "an id with a slash": json.dumps({**HERO, "customer": {"id": "a/b"}}).encode(),
    "NaN": json.dumps({**HERO, "context": {"page": float("nan")}}).encode(),
    "infinity": json.dumps({**HERO, "context": {"page": float("inf")}}).encode(),
    "a number too large": json.dumps(HERO).replace('"C-1"', "1e999").encode(),
    "no customer": b'{"channel": "web", "placements": ["web.hero"]}',
    "an id that is a number": json.dumps({**HERO, "customer": {"id": 1}}).encode(),
    "an empty id": json.dumps({**HERO, "customer": {"id": ""}}).encode(),
    "a long id": json.dumps({**HERO, "customer": {"id": "x" * 201}}).encode(),
    "an id of 100 kB": json.dumps({**HERO, "customer": {"id": "x" * 100_000}}).encode(),
    "a unicode id": json.dumps({**HERO, "customer": {"id": "Zoë"}}).encode(),
    "an address as id": json.dumps({**HERO, "customer": {"id": "a@b.example"}}).encode(),
    "a telephone number as id": json.dumps({**HERO, "customer": {"id": "+36301234567"}}).encode(),
    "an id with a newline": json.dumps({**HERO, "customer": {"id": "a\nb"}}).encode(),
    "a lone surrogate": b'{"customer": {"id": "\\ud800"}, "channel": "web", "placements": ["web.hero"]}',
    "an unknown field": json.dumps({**HERO, "chanel": "web"}).encode(),
    "an unknown nested field": json.dumps({**HERO, "customer": {"id": "C-1", "name": "x"}}).encode(),
    "an unknown channel": json.dumps({**HERO, "channel": "fax"}).encode(),
    "an unknown placement": json.dumps({**HERO, "placements": ["web.footer"]}).encode(),
    "a placement of another channel": json.dumps({**HERO, "placements": ["email.hero"]}).encode(),
    "a placement twice": json.dumps({**HERO, "placements": ["web.hero", "web.hero"]}).encode(),
    "no placement": json.dumps({**HERO, "placements": []}).encode(),
    "an unknown context": json.dumps({**HERO, "context": {"pge": "home"}}).encode(),
    "a context of the wrong type": json.dumps({**HERO, "context": {"page": 7}}).encode(),
    "a flag that is a text": json.dumps({**HERO, "dry_run": "yes"}).encode(),
    "2 MB": json.dumps({**HERO, "context": {"page": "x" * 2_000_000}}).encode(),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_decision_request_is_told_what_where_and_the_way_out(name):
    answer = await Desk().http.post("/v1/decisions", content=BODIES[name])

    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json().keys() == {"code", "message", "where"}
    assert all(answer.json().values())


@pytest.mark.anyio
async def test_a_body_that_comes_in_pieces_is_cut_off_at_the_limit():
    async def pieces():
        for _ in range(40):
            yield b"x" * 50_000

    answer = await Desk().http.post("/v1/decisions", content=pieces())

    assert answer.status_code == 413


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/decisions", 405),
        ("POST", "/v1/customers/C-1", 405),
        ("GET", "/v1/decisions/000-1-%00", 404),
        ("GET", "/v1/customers/a%40b", 422),
        ("GET", "/v1/customers/%F0%9F%98%80", 422),
        ("GET", f"/v1/customers/{'x' * 300}", 422),
    ],
)
async def test_routes_answer_errors_in_the_same_shape(method, path, status):
    answer = await Desk().http.request(method, path)

    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message", "where"}


@pytest.mark.anyio
async def test_a_caller_who_hangs_up_is_no_error():
    desk = Desk()
    app = desk.http._transport.app
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message)

    headers = [(b"authorization", b"Bearer demo-key"), (b"host", b"localhost")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/decisions",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "query_string": b"",
    }
    await asyncio.wait_for(app(scope, receive, send), 5)

    assert sent == []


schema = schemathesis.openapi.from_asgi("/openapi.json", Desk().http._transport.app)


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_generated_request_makes_a_server_error_or_breaks_the_schema(case):
    case.call_and_validate(
        headers=KEY, checks=[not_a_server_error, status_code_conformance, response_schema_conformance]
    )


@pytest.mark.parametrize(
    ("body", "sent", "told"),
    [
        (
            ConsentStatement,
            {"channel": "web", "purpose": "marketing", "granted": True, "source": "anna@bank"},
            "the name of a system: 1 to 64 letters (a to z, A to Z), digits and _ . : -",
        ),
        (ResponseRequest, {"outcome": "rejected", "reason": "Too dear"}, "a code like too_expensive"),
        (ResponseRequest, {"outcome": "rejected", "reason": "too_dear\n"}, "a code like too_expensive"),
        (VisitorRequest, {"visitor_id": "v-1"}, "the visitor_id of an earlier answer"),
    ],
)
def test_a_text_that_matches_no_pattern_is_told_in_words_what_may_stand_there(
    body: type, sent: dict[str, object], told: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(json.dumps(sent), type=body)

    problem = problem_of(raised.value)

    assert problem is not None and problem.message.startswith(f"Expected {told}")
    assert problem.where in sent


async def test_every_pattern_of_the_wire_has_its_words() -> None:
    described = (await Desk().http.get("/openapi.json")).text

    published = {json.loads(each) for each in re.findall(r'"pattern":\s*("(?:[^"\\]|\\.)*")', described)}
    assert published == {CUSTOMER_ID_PATTERN, *IN_WORDS}  # identifiers.py checks the first, and tells why
