"""The agent's screen: who the customer is, what to say next, what they answered, and why not."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from api.console.portrait import title_of
from api.journal import Journal
from api.taking import count_kept
from api.throttle import Throttle
from decisioning.customer import partition_of
from decisioning.errors import StoreUnavailable
from decisioning.store.packing import parsed
from tests.api.desk import Desk
from tests.console.office import CALL, Office, value_of
from tests.decisioning.bank import GOLD, SILVER, strategy

pytestmark = pytest.mark.anyio
SCREEN = "/console/agent?customer=C-1"
HTMX = {"hx-request": "true"}
PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}",
    "{% include '/etc/passwd' %}",
    "</textarea><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "<!--",
    "&lt;b&gt;",
    "\u2028alert(1)",
]


async def an_office(role: str = "agent", *, language: str | None = None, **attributes: object) -> Office:
    office = Office()
    await office.sign_in(role, language=language)
    await office.desk.know(**{"first_name": "Anna", **attributes})
    return office


def title_in(html: str) -> str:
    return re.search(r'<p class="tag \w+">[^<]*</p>\s*<h2[^>]*>([^<]*)</h2>', html)[1]


async def records_of(office: Office, kind: str) -> list[dict]:
    entries = [
        entry for partition in range(256) for entry in await office.desk.store.log(partition, after="0-0", limit=100)
    ]
    return [body for entry in entries if (body := parsed(entry.record.body))["kind"] == kind]


async def answered(office: Office, outcome: str, **fields: str):
    shown = (await office.get(SCREEN)).text
    said = {"customer": "C-1", "event_token": value_of("event_token", shown), "outcome": outcome, **fields}
    return await office.send(SCREEN, "/console/agent/answers", headers=HTMX, **said)


async def test_the_screen_tells_what_to_say_and_why():
    office = await an_office()

    html = (await office.get(SCREEN)).text

    assert title_in(html) == "Gold"
    assert "<li>Gold for Anna</li>" in html
    assert "Send the form" in html
    assert "more than that of" in html
    assert "Behind it" in html and "Silver" in html


async def test_where_nothing_is_worth_the_call_the_agent_reads_the_placements_own_words_for_it():
    calm = {
        "placements.yaml": CALL["placements.yaml"].replace(
            "channel: call, nothing_value: 0.5", "channel: call, quiet: calm, nothing_value: 900"
        ),
        "content/blocks.yaml": CALL["content/blocks.yaml"]
        + 'calm: {points: [{en: "Just help", hu: "Csak segítsen"}]}\n',
    }
    office = Office(desk=Desk(bank=strategy(CALL | calm)))
    await office.sign_in("agent", language="hu")
    await office.desk.know(first_name="Anna")

    html = (await office.get(SCREEN)).text

    assert ">No offer now</h2>" in html
    assert "<li>Csak segítsen</li>" in html


async def test_talking_points_are_in_the_agents_language():
    office = await an_office(language="hu")

    assert "<li>Arany, Anna</li>" in (await office.get(SCREEN)).text


async def test_after_an_answer_the_next_best_action_is_there_at_once():
    office = await an_office()

    answer = await answered(office, "accepted")

    assert answer.status_code == 200
    assert title_in(answer.text) == "Silver"
    assert "<html" not in answer.text
    assert "<strong>accepted</strong>" in answer.text


async def test_the_reason_of_a_no_is_on_record():
    office = await an_office()

    await answered(office, "rejected", reason="too_expensive")

    (response,) = await records_of(office, "response")
    assert (response["outcome"], response["reason"], response["action"]) == ("rejected", "too_expensive", GOLD)


async def test_what_was_accepted_here_is_gone_from_the_web():
    office = await an_office()
    assert (await office.desk.ask())["placements"][0]["action"] == GOLD

    await answered(office, "accepted")

    assert (await office.desk.ask())["placements"][0]["action"] == SILVER


async def test_what_was_accepted_on_the_web_is_gone_from_the_screen():
    office = await an_office()
    shown = (await office.get(SCREEN)).text
    assert title_in(shown) == "Gold"
    seen = re.search(r"seen=(\w+)", shown)[1]
    token = (await office.desk.ask())["placements"][0]["event_token"]
    await office.desk.tell(event_token=token, outcome="accepted")

    pulse = await office.get(f"/console/agent/pulse?customer=C-1&seen={seen}")

    assert pulse.headers["hx-trigger"] == "customer-changed"
    assert title_in((await office.get(SCREEN)).text) == "Silver"


async def test_an_unchanged_customer_leaves_an_open_screen_alone():
    office = await an_office()
    await office.get(SCREEN)
    seen = re.search(r"seen=(\w+)", (await office.get(SCREEN)).text)[1]

    pulse = await office.get(f"/console/agent/pulse?customer=C-1&seen={seen}")

    assert pulse.status_code == 204
    assert "hx-trigger" not in pulse.headers


async def test_what_was_only_shown_elsewhere_leaves_an_open_screen_alone():
    office = await an_office()
    seen = re.search(r"seen=(\w+)", (await office.get(SCREEN)).text)[1]
    token = (await office.desk.ask())["placements"][0]["event_token"]
    await office.desk.tell(event_token=token, outcome="impression")

    pulse = await office.get(f"/console/agent/pulse?customer=C-1&seen={seen}")

    assert "hx-trigger" not in pulse.headers


async def test_of_two_answers_that_contradict_the_second_is_refused_and_told():
    office = await an_office()
    shown = (await office.get(SCREEN)).text
    said = {"customer": "C-1", "event_token": value_of("event_token", shown), "csrf": value_of("csrf", shown)}

    told = [
        await office.browser.post("/console/agent/answers", data={**said, "outcome": outcome}, headers=HTMX)
        for outcome in ("accepted", "rejected", "accepted")
    ]

    assert [each.status_code for each in told] == [200, 409, 200]
    assert "Answered meanwhile: accepted" in told[1].text and title_in(told[1].text) == "Silver"
    assert [each["outcome"] for each in await records_of(office, "response")] == ["accepted"]


async def test_an_offer_that_was_declined_long_ago_can_be_accepted_later():
    office = await an_office()
    await answered(office, "dismissed")

    assert (await answered(office, "accepted")).status_code == 200


async def test_the_record_of_an_answer_names_the_agent():
    office = await an_office()

    await answered(office, "accepted")

    (response,) = await records_of(office, "response")
    assert response["api_key"] == "console:agent"


async def test_a_link_on_another_site_decides_nothing_in_the_agents_name():
    office = await an_office()

    for site in ("cross-site", "same-site"):
        page = await office.get(SCREEN, **{"sec-fetch-site": site})
        assert 'value="C-1"' in page.text and "Anna" not in page.text
        why = await office.get(f"/console/agent/why?customer=C-1&action={GOLD}", **{"sec-fetch-site": site})
        assert why.status_code == 403

    assert await records_of(office, "decision") == [] and await records_of(office, "view") == []
    assert "Anna" in (await office.get(SCREEN, **{"sec-fetch-site": "same-origin"})).text


async def test_without_scripts_an_answer_comes_back_to_the_screen():
    office = await an_office()
    shown = (await office.get(SCREEN)).text

    answer = await office.send(
        SCREEN,
        "/console/agent/answers",
        customer="C-1",
        event_token=value_of("event_token", shown),
        outcome="accepted",
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/agent?customer=C-1"


async def test_an_answer_of_other_words_is_refused():
    office = await an_office()

    assert (await answered(office, "converted")).status_code == 422
    assert (await answered(office, "rejected", reason="<script>")).status_code == 422
    assert await records_of(office, "response") == []


async def test_the_timeline_has_every_channel():
    office = await an_office()
    token = (await office.desk.ask())["placements"][0]["event_token"]
    await office.desk.tell(event_token=token, outcome="clicked")
    await office.desk.http.put(
        "/v1/customers/C-1/consents", json=[{"channel": "email", "purpose": "marketing", "granted": False}]
    )

    html = (await office.get(SCREEN)).text

    assert re.search(r'<span class="tag">Web</span> Gold: <strong>clicked</strong>', html)
    assert re.search(r'<span class="tag">Email</span> Marketing: <strong>consent withdrawn</strong>', html)
    assert re.search(r"Email, marketing: <strong>refused</strong>", html)


async def test_a_promise_made_in_another_channel_is_seen():
    office = await an_office()
    await office.desk.ask("email.hero")

    assert "<strong>Gold</strong> is promised until" in (await office.get(SCREEN)).text


async def test_why_not_names_the_rule_and_the_value():
    office = await an_office(income=10.0)

    told = (await office.get(f"/console/agent/why?customer=C-1&action={GOLD}", **HTMX)).text

    assert "suitability stops it" in told
    assert "needs income, which is 10.0" in told
    assert (await office.get("/console/agent/why?customer=C-1&action=grow/none/none")).status_code == 404


async def test_why_not_calls_actions_by_their_titles_and_says_what_is_promised_too():
    office = await an_office()
    await office.desk.ask("web.hero", "web.tile")
    (snapshot,) = await office.desk.store.read(["C-1"])
    first, second = (each.action for each in snapshot.state.lease)

    told = unescape((await office.get(f"/console/agent/why?customer=C-1&action={second}", **HTMX)).text)
    of_first = unescape((await office.get(f"/console/agent/why?customer=C-1&action={first}", **HTMX)).text)

    assert f"'{title_of(first)}' is promised to this customer" in told and f"{title_of(second)} is promised too" in told
    assert "promised too" not in of_first and "grow/" not in told + of_first


async def test_an_analyst_sees_no_personal_value_and_answers_for_nobody():
    office = await an_office("analyst", age=17)

    html = (await office.get(SCREEN)).text
    told = (await office.get(f"/console/agent/why?customer=C-1&action={GOLD}", **HTMX)).text

    assert "<dd>masked" in html and "<dd>17" not in html
    assert "17" not in re.sub(r"<[^>]*>", "", told)
    assert "event_token" not in html
    assert (await office.send(SCREEN, "/console/agent/answers", outcome="accepted")).status_code == 403


async def test_an_analyst_only_looks_and_changes_nothing():
    office = await an_office("analyst")
    (before,) = await office.desk.store.read(["C-1"])

    html = (await office.get(SCREEN)).text

    assert title_in(html) == "Gold" and "<li>Gold for you</li>" in html and "Anna" not in html
    (after,) = await office.desk.store.read(["C-1"])
    assert after.state == before.state
    assert await records_of(office, "decision") == []


async def test_every_look_is_on_record_once_an_hour_by_person_key():
    office = await an_office()

    for _ in range(3):
        await office.get(SCREEN)

    (view,) = await records_of(office, "view")
    (snapshot,) = await office.desk.store.read(["C-1"])
    assert (view["user"], view["role"], view["person_key"]) == ("agent", "agent", snapshot.state.person_key)
    assert "C-1" not in str(view)


async def test_a_look_at_somebody_who_was_only_loaded_leads_back_to_them():
    office = await an_office("analyst")

    await office.get(SCREEN)

    (view,) = await records_of(office, "view")
    assert await office.desk.store.customers_of(partition_of("C-1"), [view["person_key"]]) == ["C-1"]


async def test_the_record_of_a_decision_names_the_agent():
    office = await an_office()

    await office.get(SCREEN)

    assert {each["api_key"] for each in await records_of(office, "decision")} == {"console:agent"}


async def test_nobody_is_found_under_an_unknown_or_impossible_id():
    office = await an_office()

    assert (await office.get("/console/agent?customer=C-404")).status_code == 404
    assert (await office.get(f"/console/agent/why?customer=C-404&action={GOLD}")).status_code == 404
    assert (await office.get("/console/agent?customer=ann@example.com")).status_code == 422


class Shape(HTMLParser):
    """The elements of a page and the names of their attributes: what a reader's browser acts on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)


async def shapes_with(value: str) -> list[list[tuple[str, ...]]]:
    """The pages that say a value, which a customer, a form or a link brought."""
    office = await an_office(first_name=value, tier=value)
    pages = [
        await office.get(SCREEN),
        await office.browser.get("/console/agent", params={"customer": value}),
        await office.browser.get("/console/agent", params={"customer": "C-1", "context.page": value}),
        await office.new_browser().get("/console/sign-in", params={"next": value}),
    ]
    assert value in unescape(pages[0].text)
    assert ">49<" not in pages[0].text
    return [Shape(each.text).elements for each in pages]


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_payload_changes_no_element_of_a_page(payload):
    assert await shapes_with(payload) == await shapes_with("an @ harmless text")


class Gone:
    """A store that stopped answering."""

    def __getattr__(self, name):
        async def fail(*args, **kwargs):
            raise StoreUnavailable("the server does not answer")

        return fail


async def test_without_a_store_the_screen_still_says_something():
    office = await an_office()
    await office.get(SCREEN)
    office.desk.service.store = Gone()

    answer = await office.get(SCREEN)

    assert answer.status_code == 503
    assert "Thank them for calling" in answer.text
    assert "Anna" not in answer.text


async def test_the_screen_comes_back_by_itself_when_the_store_does():
    office = await an_office()
    store, office.desk.service.store = office.desk.service.store, Gone()
    pulse = re.search(r'hx-get="(/console/agent/pulse[^"]*)"', (await office.get(SCREEN)).text)[1]
    assert (await office.get(unescape(pulse))).status_code == 503

    office.desk.service.store = store

    assert (await office.get(unescape(pulse))).headers["hx-trigger"] == "customer-changed"


async def test_an_answer_given_without_a_store_is_counted_when_it_is_back(tmp_path):
    office = await an_office()
    service, store = office.desk.service, office.desk.store
    service.journal = Journal(tmp_path)
    shown = (await office.get(SCREEN)).text
    service.store = Gone()
    fields = {"customer": "C-1", "event_token": value_of("event_token", shown), "outcome": "accepted"}
    answer = await office.browser.post(
        "/console/agent/answers", data={"csrf": value_of("csrf", shown), **fields}, headers=HTMX
    )
    assert "Noted: Accepted. It is kept here" in answer.text

    service.store = store
    await service.journal.replay(service.seals, lambda kind, entry: count_kept(service, kind, entry))

    assert title_in((await office.get(SCREEN)).text) == "Silver"
    assert [each["outcome"] for each in await records_of(office, "response")] == ["accepted"]


async def test_an_answer_counts_for_the_customer_it_was_shown_to():
    office = await an_office()
    await office.desk.know("C-2")
    shown = (await office.get(SCREEN)).text

    fields = {"customer": "C-2", "event_token": value_of("event_token", shown), "outcome": "accepted"}
    answer = await office.send(SCREEN, "/console/agent/answers", headers=HTMX, **fields)

    assert answer.status_code == 403
    assert await records_of(office, "response") == []


async def test_htmx_gets_the_part_and_a_browser_the_page():
    office = await an_office()

    assert "<html" not in (await office.get(SCREEN, **HTMX)).text
    assert "<html" in (await office.get(SCREEN)).text


async def test_a_strategy_without_talking_points_says_so():
    from tests.api.desk import Desk

    office = Office(desk=Desk())
    await office.sign_in()
    await office.desk.know()

    answer = await office.get(SCREEN)

    assert answer.status_code == 404
    assert "talking points" in answer.text


async def test_too_many_requests_wait():
    office = await an_office()
    console = next(
        route.app.console for route in office.desk.http._transport.app.routes if route.path == "/console/agent"
    )
    console.visits = Throttle(burst=1, per_second=1e-9)

    assert (await office.get(SCREEN)).status_code == 200
    limited = await office.get(SCREEN)
    assert limited.status_code == 429 and limited.headers["retry-after"] == "1"
