"""The demo's pages exist in the demo alone, and a mail that was sent stays the same."""

from __future__ import annotations

import re

import pytest

from api.cli.demo import lacking
from tests.browser import eventually, serving
from tests.console.office import Office, bank_desk, token_in

pytestmark = pytest.mark.anyio


async def test_the_demo_is_nowhere_but_in_the_demo():
    for office in (Office(), Office(demo=True)):
        office.browser = office.new_browser("127.0.0.1" if not office.desk.service.settings.demo else "10.0.0.9")
        for path in ("/demo/bank", "/demo/inbox", "/demo/product", "/demo/follow?mail=email.hero", "/demo/pulse"):
            assert (await office.get(path)).status_code == 404, path
        form = token_in((await office.get("/console/sign-in")).text)
        answer = await office.browser.post("/demo/customer", data={"csrf": form, "customer": "C-1"})
        assert answer.status_code == 404
        assert (await office.get("/")).headers["location"] == "/console/sign-in"


async def test_a_mail_stays_the_same_mail():
    office = Office(demo=True, desk=bank_desk())
    await office.desk.know("C-00001")

    first, second = [(await office.get("/demo/inbox")).text for _ in range(2)]

    assert re.findall(r'src="/e/([^"]+)"', first) == re.findall(r'src="/e/([^"]+)"', second) != []


def test_whoever_waits_for_the_demo_is_told_what_it_lacks():
    office = Office(demo=True)
    with serving(office.desk) as url:
        port = int(url.rpartition(":")[2])
        eventually(lambda: lacking(port) == "")
        office.desk.service.live.current = None

        assert lacking(port) == "/readyz lacks strategy, model"

    assert lacking(port) == "/readyz does not answer"
