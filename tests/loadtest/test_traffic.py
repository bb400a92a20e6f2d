"""What is sent: the stated mix, the same for the same seed, and told apart by what the answers say."""

from __future__ import annotations

import json
import os
from collections import Counter
from random import Random

from loadtest.accounting import words_of
from loadtest.comparison import Contestant, figures_of, table_of
from loadtest.peers.running import PEERS, PeerTraffic
from loadtest.service import Bank, roles_below
from loadtest.traffic import FRESH, LEASED, ONLY_LEASED, RESPONSE, Asked, DecisionTraffic

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
    channels = Counter(each.channel for each in asked if each.kind == FRESH)
    assert abs(kinds[FRESH] / 10_000 - 0.3) < 0.02
    assert abs(kinds[LEASED] / 10_000 - 0.5) < 0.02
    assert kinds[RESPONSE] == 10_000 - kinds[FRESH] - kinds[LEASED]
    assert abs(channels["web"] / kinds[FRESH] - 0.7) < 0.03


def test_fresh_decisions_are_for_customers_in_order_and_renders_for_those_who_were_asked() -> None:
    asked = run(DecisionTraffic(1, range(1, 10_001)), 2_000)

    fresh = [each.customer for each in asked if each.kind == FRESH]
    assert fresh == list(range(1, len(fresh) + 1))
    seen: set[tuple[int, str]] = set()
    for each in asked:
        if each.kind == FRESH:
            seen.add((each.customer, each.channel))
        elif each.kind == LEASED:
            assert (each.customer, each.channel) in seen


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


def test_ratios_are_taken_within_a_round() -> None:
    def contestant(*server_us: float) -> Contestant:
        traffic = PeerTraffic("get", range(1, 2), Random(1))
        return Contestant(("", 0), {}, traffic, 0, list(server_us), [1.0] * len(server_us))

    # The machine was half as fast in the second round: the ratio is the same in all of them.
    found = figures_of({"get": contestant(100.0, 200.0, 110.0), "ours": contestant(150.0, 300.0, 165.0)})

    assert (found["ours"]["ratio_low"], found["ours"]["ratio"], found["ours"]["ratio_high"]) == (1.5, 1.5, 1.5)
    assert found["ours"]["server_us"] == 165.0
    assert "1.50" in table_of(found)


def test_roles_are_found_by_the_words_of_a_command_line() -> None:
    assert words_of(os.getpid())
    assert roles_below(os.getpid()) == {}


def test_a_bank_is_named_by_everything_it_was_made_of() -> None:
    one = Bank(200, 30, 1_000, 20, 7, "linear")

    assert one.options == [
        "--actions", "200", "--attributes", "30", "--customers", "1000", "--interactions", "20", "--seed", "7",
        "--model", "linear",
    ]  # fmt: skip
    assert one.folder != Bank(200, 30, 1_000, 20, 8, "linear").folder
