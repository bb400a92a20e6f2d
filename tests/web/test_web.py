"""What a browser may ask and say: origins, tokens, whose answers, how often, and how little it gets to know."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest

from api.instants import wall_ms
from api.throttle import REMEMBERED_MAX, Throttle
from api.web.origins import is_allowed
from api.web.script import BODY, SOURCE, served, shorter, tight
from decisioning.catalog.load import load_bundle
from decisioning.errors import StoreUnavailable
from tests.api.desk import KEY, Desk
from tests.catalog.strategies import small
from tests.decisioning.bank import FILES
from tests.web.pages import SITE, Page, bank_with_origins, token_for

pytestmark = pytest.mark.anyio

ELSEWHERE = "https://other.example"


@pytest.fixture
async def desk() -> Desk:
    made = Desk(bank=bank_with_origins())
    await made.know(first_name="Ann")
    await made.know("C-2")
    return made


async def test_a_page_gets_what_it_needs_to_show_and_nothing_else(desk):
    answer = await Page(desk).decide(await token_for(desk), "web.hero")

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"valid_until", "fallback", "placements", "refused"}
    (placed,) = body["placements"]
    assert placed.keys() == {"placement", "outcome", "rank", "content", "types", "event_token"}
    assert (placed["outcome"], placed["content"], placed["types"]) == (
        "offer",
        {"headline": "Gold, Ann"},
        {"headline": "text"},
    )
    assert "C-1" not in answer.text and "grow/" not in answer.text
    assert answer.headers["access-control-allow-origin"] == SITE and "origin" in answer.headers["vary"]


async def test_the_page_and_the_api_show_one_customer_the_same(desk):
    by_page = (await Page(desk).decide(await token_for(desk), "web.hero")).json()
    by_api = await desk.ask("web.hero")

    assert by_api["placements"][0]["reasons"] == ["lease"]
    assert by_api["placements"][0]["content"] == by_page["placements"][0]["content"]


async def test_naming_another_customer_than_the_token_is_refused_and_decides_nothing(desk):
    token = await token_for(desk)

    other = await Page(desk).decide(token, "web.hero", customer={"id": "C-2"})
    same = await Page(desk).decide(token, "web.hero", customer={"id": "C-1"})

    assert (other.status_code, other.json()["where"]) == (403, "customer.id")
    assert same.status_code == 200
    assert (await desk.store.read(["C-2"]))[0].state.draw_index == 0


@pytest.mark.parametrize("origin", [ELSEWHERE, None, "null", f"{SITE}.evil.example", f"{SITE}/", "http://bank.example"])
@pytest.mark.parametrize("path", ["/web/visitors", "/web/decisions", "/web/responses"])
async def test_pages_of_other_origins_are_refused_and_cannot_read_why(desk, origin, path):
    said = {"event_token": "x", "outcome": "clicked"}
    bodies = {
        "/web/visitors": {},
        "/web/decisions": {"visitor_token": await token_for(desk), "placements": ["web.hero"]},
        "/web/responses": {"responses": [said]},
    }

    answer = await Page(desk, origin).post(path, **bodies[path])

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers


async def test_a_token_is_good_for_the_origin_it_was_made_for_alone():
    channels = f"web: {{origins: [{SITE}, {ELSEWHERE}], direction: inbound, lease_minutes: 60, contact_cost: 0.0}}\n"
    channels += "email: {direction: outbound, lease_minutes: 240, contact_cost: 0.0}\n"
    desk = Desk(bank=bank_with_origins({"channels.yaml": channels}))
    token = await token_for(desk)

    assert (await Page(desk, ELSEWHERE).decide(token, "web.hero")).status_code == 403
    assert (await Page(desk, SITE).decide(token, "web.hero")).status_code == 200


async def test_a_preflight_allows_listed_origins_and_lasts(desk):
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}

    allowed = await Page(desk).http.options("/web/decisions", headers=asking)
    refused = await Page(desk, ELSEWHERE).http.options("/web/decisions", headers=asking)

    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, SITE)
    assert allowed.headers["access-control-allow-methods"] == "POST"
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert int(allowed.headers["access-control-max-age"]) >= 7200
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)


async def test_the_token_may_travel_as_a_bearer(desk):
    headers = {"Authorization": f"Bearer {await token_for(desk)}"}

    answer = await Page(desk).http.post("/web/decisions", json={"placements": ["web.hero"]}, headers=headers)

    assert answer.status_code == 200, answer.text


async def test_forged_cut_foreign_and_late_tokens_open_nothing(desk):
    good = await token_for(desk)
    seals = desk.service.seals
    late = seals.seal("visitor", ["C-1", SITE, wall_ms() - 1])
    event = (await desk.ask("web.hero"))["placements"][0]["event_token"]
    forged = ["x", "k1.", good[:-1], good[:-3] + "AAA", good.replace("k1.", "k2."), late, event, KEY["Authorization"]]

    answers = [await Page(desk).decide(token, "web.hero") for token in forged]

    assert [answer.status_code for answer in answers] == [401] * len(forged)


async def test_a_key_is_no_visitor_token_and_a_visitor_token_no_key(desk):
    token = await token_for(desk)
    bearer = {"Authorization": f"Bearer {token}"}

    answer = await desk.http.post("/v1/decisions", json={}, headers=bearer)
    by_key = await Page(desk).http.post("/web/decisions", json={"placements": ["web.hero"]}, headers=KEY)

    assert (answer.status_code, by_key.status_code) == (401, 401)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"origin": ELSEWHERE}, "origin"),
        ({"minutes": 61}, "minutes"),
        ({"customer": {"id": "ann@bank.example"}}, "customer.id"),
    ],
)
async def test_a_token_is_not_minted_for_other_sites_longer_than_an_hour_or_for_an_address(desk, body, where):
    answer = await desk.http.post("/v1/visitor-tokens", json={"customer": {"id": "C-1"}, "origin": SITE, **body})

    assert (answer.status_code, answer.json()["where"]) == (422, where)


async def test_an_anonymous_visitor_gets_an_id_of_our_making_and_keeps_it(desk):
    first = await Page(desk).anonymous()
    shown = (await Page(desk).decide(first["visitor_token"], "web.hero")).json()
    again = (await Page(desk).post("/web/visitors", visitor_id=first["visitor_id"])).json()
    other = await Page(desk).anonymous()
    named = await Page(desk).post("/web/visitors", visitor_id="C-1")

    assert first["visitor_id"].startswith("v-") and len(first["visitor_id"]) == 34
    assert again["visitor_id"] == first["visitor_id"] != other["visitor_id"]
    assert named.status_code == 422
    assert shown["placements"][0]["outcome"] == "message"


async def test_a_token_of_before_an_erasure_brings_nobody_back(desk):
    token = await token_for(desk)
    withdrawn = {"channel": "web", "purpose": "marketing", "granted": False}
    await desk.http.put("/v1/customers/C-1/consents", json=[withdrawn])
    await Page(desk).decide(token, "web.hero")
    await desk.http.delete("/v1/customers/C-1")

    answer = await Page(desk).decide(token, "web.hero")

    assert (answer.status_code, answer.json()["code"]) == (410, "erased")
    assert answer.headers["access-control-allow-origin"] == SITE
    assert (await desk.http.get("/v1/customers/C-1")).status_code == 404


async def test_a_token_of_before_an_erasure_is_not_that_of_who_comes_next_under_the_id(desk):
    token = await token_for(desk)
    await desk.http.delete("/v1/customers/C-1")
    await desk.know(first_name="Bela")

    before = await Page(desk).decide(token, "web.hero")
    after = await Page(desk).decide(await token_for(desk), "web.hero")

    assert before.status_code == 410
    assert after.json()["placements"][0]["content"] == {"headline": "Gold, Bela"}


async def test_who_is_erased_while_a_page_is_decided_stays_erased(desk):
    token = await token_for(desk)
    commit = desk.store.commit

    async def late(changes):
        desk.store.commit = commit
        await desk.store.erase("C-1")
        return await commit(changes)

    desk.store.commit = late
    answer = await Page(desk).decide(token, "web.hero")

    assert answer.status_code == 410
    assert (await desk.store.read(["C-1"]))[0].state_version == 0


async def test_a_token_for_somebody_unknown_is_theirs_once_they_are_known(desk):
    token = await token_for(desk, "C-3")
    await desk.know("C-3", first_name="Cili")

    answer = await Page(desk).decide(token, "web.hero")

    assert answer.json()["placements"][0]["content"] == {"headline": "Gold, Cili"}


async def test_a_token_that_names_no_person_is_good_for_whoever_has_the_id(desk):
    of_before = desk.service.seals.seal("visitor", ["C-1", SITE, wall_ms() + 60_000])

    assert (await Page(desk).decide(of_before, "web.hero")).status_code == 200


async def test_an_anonymous_visitor_who_was_erased_is_somebody_else_from_then_on(desk):
    page = Page(desk)
    first = await page.anonymous()
    await page.decide(first["visitor_token"], "web.hero")
    renewed = (await page.post("/web/visitors", visitor_id=first["visitor_id"])).json()
    await desk.http.delete(f"/v1/customers/{first['visitor_id']}")

    answer = await page.decide(renewed["visitor_token"], "web.hero")
    new = (await page.post("/web/visitors", visitor_id=first["visitor_id"])).json()

    assert answer.status_code == 410
    assert new["visitor_id"] != first["visitor_id"] and new["visitor_id"].startswith("v-")
    assert (await page.decide(new["visitor_token"], "web.hero")).status_code == 200
    assert (await desk.http.get(f"/v1/customers/{first['visitor_id']}")).status_code == 404


async def test_a_page_is_told_nothing_of_what_is_known_about_customers(desk):
    page = Page(desk)
    token = (await page.anonymous())["visitor_token"]

    answers = [await page.decide(token, "web.hero", context={name: 1}) for name in ("suspicios", "incom", "pag", "x")]

    assert {(each.status_code, each.json()["code"], each.json()["where"]) for each in answers} == {
        (422, "invalid_attribute", "context")
    }
    assert [each.json()["message"] for each in answers] == [
        f"context.{name}: unknown attribute." for name in ("suspicios", "incom", "pag", "x")
    ]


async def test_placements_of_a_channel_without_the_origin_are_not_for_pages(desk):
    token = await token_for(desk)
    answer = await Page(desk).decide(token, "email.hero")
    unknown = await Page(desk).decide(token, "web.footer")
    some = await Page(desk).decide(token, "web.footer", "email.hero", "web.hero", *(f"web.{at}" for at in range(40)))

    assert (answer.status_code, answer.json()["where"]) == (403, "placements")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_placement")
    assert [each["placement"] for each in some.json()["placements"]] == ["web.hero"]
    assert list(some.json()["refused"]) == ["web.footer", "email.hero", *(f"web.{at}" for at in range(40))]


async def test_a_page_reports_for_its_own_visitor_and_once(desk):
    token = await token_for(desk)
    event = (await Page(desk).decide(token, "web.hero")).json()["placements"][0]["event_token"]
    said = {"visitor_token": token, "responses": [{"event_token": event, "outcome": "impression"}]}

    first = await Page(desk).post("/web/responses", **said)
    again = await Page(desk).post("/web/responses", **said)
    foreign = await Page(desk).post("/web/responses", **{**said, "visitor_token": await token_for(desk, "C-2")})
    nobody = await Page(desk).post("/web/responses", responses=said["responses"])

    assert first.json() == {"responses": [{"status": "counted"}]}
    assert again.json() == {"responses": [{"status": "repeated"}]}
    assert (foreign.status_code, nobody.status_code) == (403, 401)
    (snapshot,) = await desk.store.read(["C-1"])
    assert [each.outcome for each in snapshot.state.interactions].count("impression") == 1


async def test_a_click_out_of_a_mail_is_confirmed_by_what_its_link_brought(desk):
    event = (await desk.ask("email.hero"))["placements"][0]["event_token"]
    page = Page(desk)

    clicked = await page.post("/web/responses", responses=[{"event_token": event, "outcome": "clicked"}])
    accepted = await page.post("/web/responses", responses=[{"event_token": event, "outcome": "accepted"}])

    assert clicked.json() == {"responses": [{"status": "counted"}]}
    assert accepted.status_code == 401


async def test_a_page_cannot_say_that_money_came(desk):
    token = await token_for(desk)
    event = (await Page(desk).decide(token, "web.hero")).json()["placements"][0]["event_token"]

    answer = await Page(desk).post(
        "/web/responses", visitor_token=token, responses=[{"event_token": event, "outcome": "converted"}]
    )

    assert answer.status_code == 422


async def test_with_the_store_down_pages_are_told_to_keep_their_own(desk):
    token = await token_for(desk)

    async def down(*_, **__):
        raise StoreUnavailable("stopped")

    desk.store.read = down
    answer = await Page(desk).decide(token, "web.hero")

    assert answer.status_code == 200
    assert answer.json()["fallback"] is True
    assert answer.json()["placements"][0]["event_token"] is None
    assert (await Page(desk).post("/web/visitors")).status_code == 200
    known = (await Page(desk).post("/web/visitors", visitor_id="v-" + "a" * 32)).json()
    assert known["visitor_id"] == "v-" + "a" * 32  # who they are can wait
    assert await token_for(desk)
    assert (await Page(desk).http.get("/nextbest.js")).status_code == 200


async def test_a_token_does_not_wait_for_a_store_that_hangs(desk):
    async def hangs(*_, **__):
        await asyncio.Event().wait()

    desk.store.read = hangs

    assert await token_for(desk)


async def test_one_token_and_one_address_may_ask_so_often(desk):
    token = await token_for(desk)

    statuses = [(await Page(desk).decide(token, "web.hero")).status_code for _ in range(40)]
    other = await Page(desk).decide(await token_for(desk, "C-2"), "web.hero")

    assert statuses[:30] == [200] * 30 and 429 in statuses[30:]
    assert other.status_code == 200


def test_a_throttle_gives_back_what_time_brings_and_forgets_the_longest_silent():
    now_s = [0.0]
    throttle = Throttle(per_second=2, burst=3, clock_s=lambda: now_s[0])

    at_once = [throttle.allows("a") for _ in range(5)]
    now_s[0] += 1.0
    later = [throttle.allows("a") for _ in range(3)]
    for number in range(REMEMBERED_MAX):
        throttle.allows(str(number))

    assert (at_once, later) == ([True] * 3 + [False] * 2, [True, True, False])
    assert throttle.allows("a")


@pytest.mark.parametrize(
    ("origin", "demo", "allowed"),
    [
        (SITE, False, True),
        ("http://127.0.0.1:8080", False, False),
        ("http://127.0.0.1:8080", True, True),
        ("http://localhost:8080", True, True),
        ("http://127.0.0.1.evil.example", True, False),
        ("http://[::1", True, False),
        ("null", True, False),
    ],
)
def test_pages_of_this_machine_may_ask_in_the_demo(origin, demo, allowed):
    web, email = (bank_with_origins().channels[name] for name in ("web", "email"))

    assert is_allowed(origin, web, demo=demo) is allowed
    assert not is_allowed(origin, email, demo=demo)


async def test_the_snippet_is_small_and_served_as_it_is_written(desk):
    plain = await Page(desk).http.get("/nextbest.js", headers={"Accept-Encoding": "identity"})
    packed = await Page(desk).http.get("/nextbest.js")
    again = await Page(desk).http.get("/nextbest.js", headers={"If-None-Match": plain.headers["etag"]})

    assert plain.content == packed.content == BODY == served(SOURCE).encode()
    assert int(packed.headers["content-length"]) == len(gzip.compress(BODY, 9)) < 4096
    assert again.status_code == 304
    assert plain.headers["content-type"].startswith("text/javascript")
    assert all(word not in BODY.decode() for word in ("innerHTML", "eval(", "Function(", "document.write", "outerHTML"))


def test_serving_the_snippet_changes_no_text_in_it():
    source = '  // a comment\n  const it = "it , y // z";\n  if (it)\n    f({ b: it }, (c) => c + 1);\n  g()\n'
    source += "  h(/it , it/)\n"

    assert served(source) == 'let a="it , y // z";if(a)\nf({b:a},(c)=>c+1);g()\nh(/it , it/)'


def test_what_may_be_a_property_keeps_its_name():
    source = "const one = 1; const two = { one: 2, ...three }; let three = two.four, four; f({ two }); const b = one;"

    assert shorter(tight(source)) == {"const": "let", "three": "a"}


def test_parameters_get_another_word_too_and_what_is_used_most_the_shortest():
    source = "const rare = (first, last) => last + last;"

    assert shorter(tight(source)) == {"const": "let", "last": "a", "rare": "b", "first": "c"}


def test_a_line_that_ends_a_block_needs_no_break():
    assert served("if (a) {\n  b();\n}\nswitch (a) {\n  case 1:\n    c();\n}\n") == "if(a){b()}switch(a){case 1:c()}"


async def test_bad_bodies_are_told_what_is_wrong(desk):
    page = Page(desk)
    bodies = [b"", b"{", b"[]", b'{"placements": []}', b'{"placements": ["web.hero"], "x": 1}', b"\xff", b"[" * 9000]

    answers = [await page.http.post("/web/decisions", content=body) for body in bodies]
    large = await page.http.post("/web/decisions", content=json.dumps({"context": {"page": "x" * 70_000}}))

    assert all(400 <= answer.status_code < 500 for answer in answers), [answer.status_code for answer in answers]
    assert all(answer.json().keys() == {"code", "message", "where"} for answer in answers)
    assert large.status_code == 413


async def test_what_was_learnt_about_a_page_is_recorded_as_asked_by_a_browser(desk):
    await Page(desk).decide(await token_for(desk), "web.hero", context={"page": "home"})
    entries = [entry for partition in range(256) for entry in await desk.store.log(partition, after="0-0", limit=10)]

    (record,) = [json.loads(entry.record.body) for entry in entries]
    assert (record["api_key"], record["context"]) == ("browser", {"page": "home"})


async def test_without_a_strategy_pages_get_no_answer_and_no_error_of_ours(desk):
    desk.service.live.current = None

    answer = await Page(desk).post("/web/visitors")

    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


PIXEL = small()["content/images/brand.png"]


async def test_an_image_file_of_the_strategy_has_an_address_for_pages():
    fields = "{headline: {type: text, required: true}, image: {type: image}}"
    changes = {
        "placements.yaml": FILES["placements.yaml"].replace("{headline: {type: text, required: true}}", fields),
        "channels.yaml": FILES["channels.yaml"].replace("web: {", f"web: {{origins: [{SITE}], "),
        "actions/safety.yaml": FILES["actions/safety.yaml"].replace("card", 'card", image: "lock.png'),
    }
    files = {path: text.encode() for path, text in {**FILES, **changes}.items()}
    desk = Desk(bank=load_bundle({**files, "content/images/lock.png": PIXEL}))
    await desk.know(suspicious=True)

    (placed,) = (await Page(desk).decide(await token_for(desk), "web.hero")).json()["placements"]
    image = await Page(desk).http.get(f"/{placed['content']['image']}")
    before = await Page(desk).http.get("/web/images/000000000000/lock.png")
    absent = await Page(desk).http.get("/web/images/000000000000/other.png")

    assert (image.content, image.headers["content-type"]) == (PIXEL, "image/png")
    assert "immutable" in image.headers["cache-control"] and "sandbox" in image.headers["content-security-policy"]
    assert (before.content, before.headers["cache-control"]) == (PIXEL, "no-store")
    assert (absent.status_code, absent.json()["code"]) == (404, "not_found")
