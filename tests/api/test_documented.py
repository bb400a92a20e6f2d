"""The page docs/api.md against the service it describes: endpoints, codes, reasons, and every example is sent."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api import metrics
from api.endpoints import endpoints
from api.errors import STATUS
from decisioning.catalog.load import load_directory
from decisioning.catalog.outcomes import DROP_REASONS
from tests.api.desk import Desk

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text()
EMAIL = (ROOT / "docs" / "email.md").read_text()
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"<!-- (\w+) (\S+) -->\n```json\n(.*?)\n```", API + EMAIL, re.S)
DESK = Desk()

pytestmark = [pytest.mark.anyio, pytest.mark.docs]


@pytest.fixture(scope="module")
def bank():
    return load_directory(ROOT / "examples" / "retail_bank")


@pytest.mark.parametrize(("method", "path", "body"), EXAMPLES, ids=[f"{method} {path}" for method, path, _ in EXAMPLES])
async def test_each_example_of_the_page_is_accepted(bank, method, path, body):
    answer = await Desk(bank=bank).http.request(method.upper(), path, json=json.loads(body))

    assert answer.status_code == 200, answer.text


async def test_the_readmes_request_gets_the_readmes_kind_of_answer(bank):
    request = json.loads(re.search(r"/v1/decisions .*?-d '(\{.*?\})'", README, re.S)[1])
    shown = json.loads(re.search(r"```json\n(.*?)\n```", README, re.S)[1])

    answer = (await Desk(bank=bank).http.post("/v1/decisions", json=request)).json()

    assert answer.keys() == shown.keys()
    assert answer["placements"][0].keys() == shown["placements"][0].keys()


def test_every_endpoint_code_and_metric_is_on_its_page():
    for each in endpoints(DESK.service):
        assert f"`{each.method} {each.path}`" in API
        assert f"| `{each.scope}` |" in API
    for code in STATUS:
        assert f"`{code}`" in API
    page = (ROOT / "docs" / "metrics.md").read_text()
    for name, each in vars(metrics).items():
        if name.isupper() and hasattr(each, "describe"):
            (family,) = each.describe()
            assert f"`{family.name}" in page


def test_every_reason_in_the_code_is_on_the_page():
    names = ("placement.py", "draws.py", "lease.py", "renders.py")
    source = "".join((ROOT / "decisioning" / name).read_text() for name in names)
    listed = re.findall(r'reasons=\[\]|\[\*?"([a-z_]+)"|_won\("([a-z_]+)"|f"([a-z_]+):\{', source)
    codes = {code for group in listed for code in group if code}
    assert {
        "won_arbitration",
        "explored",
        "nothing_worth_more",
        "lease",
        "held",
        "holdout",
        "random_arm",
        "leased",
        "lease_ended",
        "answered",
    } <= codes

    assert [code for code in sorted(codes - set(DROP_REASONS)) if f"`{code}" not in API] == []


async def test_the_published_schema_has_every_endpoint_and_the_pages_for_people():
    desk = Desk()
    described = (await desk.http.get("/openapi.json")).json()

    for each in endpoints(DESK.service):
        operation = described["paths"][each.path][each.method.lower()]
        assert {"200", "401", "403", "429", "503"} <= operation["responses"].keys()
    assert (await desk.http.get("/docs")).status_code == 200
    assert (await desk.http.get("/")).headers["location"] == "/console/sign-in"
    assert (await desk.http.get("/healthz")).json() == {"status": "alive"}
    assert "request_latency_seconds" in (await desk.http.get("/metrics")).text
