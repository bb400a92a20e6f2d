"""What is sent: the stated mix, the same for the same seed, and told apart by what the answers say."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from subprocess import PIPE

import pytest

from loadtest.accounting import words_of
from loadtest.claims import Claim
from loadtest.claims import table_of as claims_table
from loadtest.comparison import claims_of, figures_of, table_of
from loadtest.contest import FRESH_NAME, LEASED_NAME, Contestant, Ratio
from loadtest.growth import AXES, Point, Setting, growth_of
from loadtest.growth import claims_of as growth_claims
from loadtest.peers.running import PEERS, PeerTraffic
from loadtest.service import Bank, roles_below, trained_form
from loadtest.traffic import FRESH, LEASED, ONLY_LEASED, RESPONSE, Asked, DecisionTraffic, Moment

FRESH_ANSWER = b'{"degraded":false,"placements":[{"lease_of":null,"event_token":"k1.abc"}]}'
LEASED_ANSWER = b'{"degraded":false,"placements":[{"lease_of":"079-1a","event_token":"k1.def"}]}'


def run(traffic: DecisionTraffic, count: int) -> list[Asked]:
    """Ask, and answer as a service would."""
    asked = []
    for _ in range(count):
        asked.append(traffic.next())
        traffic.answered(asked[-1], 200, LEASED_ANSWER if asked[-1].kind == LEASED else FRESH_ANSWER)
    return asked


def test_requests_come_in_the_stated_shares_and_channels() -> None:
    asked = run(DecisionTraffic(1, range(1, 10_001)), 10_000)

    kinds = Counter(each.kind for each in asked)
    channels = Counter(each.moment.channel for each in asked if each.kind == FRESH and each.moment)
    assert abs(kinds[FRESH] / 10_000 - 0.3) < 0.02
    assert abs(kinds[LEASED] / 10_000 - 0.5) < 0.02
    assert kinds[RESPONSE] == 10_000 - kinds[FRESH] - kinds[LEASED]
    assert abs(channels["web"] / kinds[FRESH] - 0.7) < 0.03


def test_fresh_decisions_are_for_customers_in_order_and_renders_for_those_who_were_asked() -> None:
    asked = run(DecisionTraffic(1, range(1, 10_001)), 2_000)

    fresh = [each.moment for each in asked if each.kind == FRESH]
    assert [moment.customer for moment in fresh if moment] == list(range(1, len(fresh) + 1))
    seen: set[Moment | None] = set()
    for each in asked:
        if each.kind == FRESH:
            seen.add(each.moment)
        elif each.kind == LEASED:
            assert each.moment in seen


def test_a_web_page_asks_for_some_placements_at_once_and_again_for_the_same() -> None:
    asked = run(DecisionTraffic(1, range(1, 10_001), placement_shares={1: 0.5, 3: 0.5}), 4_000)

    bodies = [json.loads(each.request.partition(b"\r\n\r\n")[2]) for each in asked if each.moment]
    counts = Counter((body["channel"], len(body["placements"])) for body in bodies)
    assert set(counts) == {("web", 1), ("web", 3), ("email", 1), ("call_center", 1)}
    assert 0.8 < counts["web", 1] / counts["web", 3] < 1.25
    of_customer: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for body in bodies:
        of_customer[body["customer"]["id"]].add(tuple(body["placements"]))
    assert all(len(placements) == 1 for placements in of_customer.values())


def test_the_seed_says_everything() -> None:
    one, same, other = (DecisionTraffic(seed, range(1, 1_001)) for seed in (1, 1, 2))

    assert run(one, 500) == run(same, 500)
    assert run(one, 500) != run(other, 500)


def test_a_request_is_http_with_a_body_of_its_length() -> None:
    head, _, body = DecisionTraffic(1, range(1, 2)).next().request.partition(b"\r\n\r\n")

    assert head.startswith(b"POST /v1/decisions HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["customer"] == {"id": "C-00001"}


def test_an_answer_says_what_it_was_and_a_degraded_one_stays_what_was_asked() -> None:
    traffic = DecisionTraffic(1, range(1, 100))
    fresh = traffic.next()

    assert traffic.answered(fresh, 200, FRESH_ANSWER) == (FRESH, None)
    assert traffic.answered(fresh, 200, LEASED_ANSWER) == (LEASED, None)
    assert traffic.answered(fresh, 503, b"") == (FRESH, "status_503")
    traffic.with_shares(ONLY_LEASED)
    leased = traffic.next()
    assert traffic.answered(leased, 200, b'{"degraded":true}') == (LEASED, "degraded")


def test_a_response_carries_the_token_of_a_decision() -> None:
    asked = run(DecisionTraffic(1, range(1, 10_001)), 200)

    (first, *_) = (each for each in asked if each.kind == RESPONSE)
    assert json.loads(first.request.partition(b"\r\n\r\n")[2])["event_token"] in ("k1.abc", "k1.def")


def test_a_peer_that_answers_something_else_is_an_error() -> None:
    traffic = PeerTraffic("get", range(1, 10), Random(1))
    asked = traffic.next()

    assert traffic.answered(asked, 200, b'{"found":true}').error is None
    assert traffic.answered(asked, 200, b'{"found":false}').error == "unexpected"
    assert traffic.answered(asked, 500, b"").error == "status_500"
    assert all(peer.expected for peer in PEERS.values())


def contestant(*server_us: float) -> Contestant:
    """One whose rounds are over."""
    traffic, store_us = PeerTraffic("get", range(1, 2), Random(1)), [1.0] * len(server_us)
    return Contestant(("", 0), {}, traffic, 0, server_us=list(server_us), store_us=store_us, per_second=[1.0])


def test_ratios_are_taken_within_a_round() -> None:
    # The machine was half as fast in the second round: the ratio is the same in all of them.
    contestants = {"get": contestant(100.0, 200.0, 110.0), "ours": contestant(150.0, 300.0, 165.0)}

    found = figures_of(contestants)["ours"]

    assert found["times_get"] == {"median": 1.5, "low": 1.5, "high": 1.5}
    assert (found["server_us"], found["sum_us"]) == (165.0, 166.0)
    assert "1.50 (1.50–1.50)" in table_of(contestants)


def test_a_claim_that_is_not_reached_is_said_in_so_many_words() -> None:
    fresh, leased, get = contestant(90.0, 95.0), contestant(210.0, 190.0), contestant(100.0, 100.0)
    contestants = {FRESH_NAME: fresh, LEASED_NAME: leased, "get": get, "afternoon": contestant(450.0, 475.0)}

    made = claims_of("linear-200", contestants)

    told = claims_table(made).splitlines()
    assert [claim.holds for claim in made] == [True, False, False]
    assert told[1].endswith("holds") and told[2].endswith("NOT REACHED") and "≥ 10" in told[3]
    assert claims_of("linear-200", {"get": get}) == []
    assert Claim("", Ratio(2.0, 2.0, 2.0), 2.0).holds and Claim("", Ratio(2.0, 2.0, 2.0), 2.0, is_least=True).holds


def test_every_point_of_an_axis_changes_that_alone() -> None:
    base = Setting(Bank(200, 30, 4_000, 20, 7, "linear"))

    settings = {name: [axis.at(base, x) for x in axis.points] for name, axis in AXES.items()}

    assert [each.bank.actions for each in settings["actions"]] == [50, 200, 1_000, 5_000]
    assert settings["actions"][1] == settings["interactions"][1] == base
    assert settings["attributes"][1] == replace(base, bank=replace(base.bank, model="boosted"))
    assert len({replace(each.bank, attributes=30) for each in settings["attributes"]}) == 1
    assert settings["workers"] == [base, replace(base, workers=2)]
    assert len({each.bank for each in settings["placements"]}) == 1


def test_actions_may_cost_less_than_in_proportion_and_customers_nothing() -> None:
    def point(x: int, ratio: float) -> Point:
        figures = {"times_get": Ratio(ratio, ratio, ratio).as_json()}
        return {"x": x, FRESH_NAME: figures, LEASED_NAME: figures}

    actions = growth_claims("actions", [point(50, 1.0), point(5_000, 10.0)])
    customers = growth_claims("customers", [point(10_000, 1.0), point(1_000_000, 1.2)])

    assert [(round(claim.found.median, 2), claim.holds) for claim in actions] == [(0.5, True)] * 2
    assert [(round(claim.found.median, 2), claim.holds) for claim in customers] == [(1.2, False)] * 2
    assert growth_claims("placements", [point(1, 1.0), point(10, 9.0)]) == []


def test_growth_is_told_as_an_exponent_of_the_ratios() -> None:
    points = [{"x": x, "ours": {"times_get": {"median": ratio}}} for x, ratio in ((1, 2.0), (100, 20.0), (1_000, 20.0))]

    assert growth_of("ours", "actions", points) == (
        "ours: actions 1 → 1,000 cost 10.00 times as much, exponent 0.33 (steepest step 0.50)"
    )
    assert growth_of("ours", "interactions", [{**points[0], "x": 0}, points[1]]).endswith("10.00 times as much")


@pytest.mark.parametrize(("word", "role"), [("valkey-server", "store"), ("cat", None)])
def test_roles_are_found_by_the_words_of_a_command_line(word: str, role: str | None) -> None:
    with subprocess.Popen([word, "-"], executable=shutil.which("cat"), stdin=PIPE, stdout=PIPE, bufsize=0) as child:
        assert child.stdin and child.stdout
        child.stdin.write(b"are you there?\n")
        assert child.stdout.readline()

        assert words_of(child.pid) == [word, "-"]
        assert roles_below(child.pid) == ({} if role is None else {role: child.pid})
        child.stdin.close()


@pytest.mark.parametrize("trees", [False, True])
def test_the_form_of_a_model_is_read_from_the_report_of_its_training(tmp_path: Path, trees: bool) -> None:
    folder = tmp_path / "data/models/0a1b"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"choices": {"form": "linear with trees" if trees else "linear"}}))

    assert trained_form(tmp_path) == ("boosted" if trees else "linear")


def test_a_bank_is_named_by_everything_it_was_made_of() -> None:
    one = Bank(200, 30, 1_000, 20, 7, "linear")

    assert one.options == [
        "--actions", "200", "--attributes", "30", "--customers", "1000", "--interactions", "20", "--seed", "7",
        "--model", "linear", "--placements", "3",
    ]  # fmt: skip
    assert one.folder != Bank(200, 30, 1_000, 20, 8, "linear").folder
