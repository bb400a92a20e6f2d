"""The demo's pages exist in the demo alone, and a mail that was sent stays the same."""

from __future__ import annotations

import re
from html import unescape

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


async def test_an_id_that_nobody_has_is_told_and_one_that_somebody_has_is_not():
    office = Office(demo=True, desk=bank_desk())
    await office.desk.know("C-00001")
    known = (await office.get("/")).text

    await office.send("/", "/demo/customer", customer="C-99999", back="/demo/bank")
    pages = [(await office.get(path)).text for path in ("/", "/demo/bank", "/demo/inbox")]

    assert "No customer is known" not in known
    assert all("No customer is known as C-99999" in page and "Take C-00001" in page for page in pages)


@pytest.mark.parametrize("customer", ["C,1;2", 'C"1', "C%41", "C\\054"])
async def test_any_id_is_kept_as_it_is(customer):
    office = Office(demo=True, desk=bank_desk())
    await office.desk.know("C-00001")

    await office.send("/", "/demo/customer", customer=customer)

    assert f"No customer is known as {customer}" in unescape((await office.get("/")).text)


async def test_from_the_demos_first_page_the_pages_for_marketers_and_developers_are_one_press_away():
    office = Office(demo=True, desk=bank_desk())
    await office.desk.know("C-00001")
    offered = re.findall(r'name="next" value="([^"]+)"', (await office.get("/")).text)

    for path in offered:
        answer = await office.fresh().send("/", "/console/sign-in", role="admin", next=path)
        assert answer.headers["location"] == path
    await office.send("/", "/console/sign-in", role="admin", next=offered[0])

    assert offered == ["/console/preview", "/console/snippets", "/docs"]
    assert (await office.get(offered[0])).status_code == 200
    assert 'name="next"' not in (await office.get("/")).text


def test_whoever_waits_for_the_demo_is_told_what_it_lacks():
    office = Office(demo=True)
    with serving(office.desk) as url:
        port = int(url.rpartition(":")[2])
        eventually(lambda: lacking(port) == "")
        office.desk.service.live.current = None

        assert lacking(port) == "/readyz lacks strategy, model"

    assert lacking(port) == "/readyz does not answer"
