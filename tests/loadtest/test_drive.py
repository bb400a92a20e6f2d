"""The instrument is honest: what a server does to its callers stands in the figures, and nothing else does."""

from __future__ import annotations

import pytest

from loadtest.drive import Driver, Measured
from loadtest.traffic import Asked, Verdict, post
from tests.loadtest.servers import ANSWER, server


class Plain:
    """The same request every time."""

    def next(self) -> Asked:
        return Asked("plain", post("/", b"{}"))

    def answered(self, asked: Asked, status: int, body: bytes) -> Verdict:
        return Verdict("plain", None if status == 200 else f"status_{status}")


def percentile_s(measured: Measured, share: float) -> float:
    found = measured.latencies["plain"].percentile(share)
    assert found is not None
    return found


def test_a_stall_is_seen_by_everybody_who_came_in_it() -> None:
    with server(lambda number: 0.5 if number == 100 else 0.0) as address:
        measured = Driver(address, Plain()).at_rate(200, 1.5)

    # 0.5 s of 1.5 s stood still: a third of all callers waited, on average half of it. A driver that waits for its
    # answers would have sent one slow request of hundreds, and its p90 would show nothing.
    assert measured.count == 300
    assert measured.errors == {}
    assert percentile_s(measured, 0.9) > 0.25
    assert measured.latencies["plain"].max_s > 0.49
    assert sum(1 for each in measured.windows.values() if each["plain"].max_s > 0.4) >= 1


def test_a_server_that_is_too_slow_shows_a_growing_queue() -> None:
    with server(lambda number: 0.01) as address:
        measured = Driver(address, Plain()).at_rate(200, 0.5)

    # 100 a second at most: the last of 100 arrivals waits about half a second, and none was left out.
    assert measured.count == 100
    assert measured.latencies["plain"].max_s > 0.45
    assert measured.per_second < 105


def test_what_does_not_answer_counts_as_late_and_as_an_error() -> None:
    with server(lambda number: 0.4 if number == 5 else 0.0) as address:
        measured = Driver(address, Plain(), timeout_s=0.1, connections_max=2).at_rate(100, 0.5)

    assert measured.errors["timeout"] >= 2
    assert measured.errors["not_sent"] > 0
    assert measured.count + measured.errors["not_sent"] == 50


def test_errors_are_told_by_kind() -> None:
    with server(lambda number: 0.0, answer=ANSWER.replace(b"200 OK", b"503 No")) as address:
        refused = Driver(address, Plain()).at_rate(100, 0.1)
    gone = Driver(address, Plain()).at_rate(100, 0.1)

    assert refused.errors == {"status_503": 10}
    assert gone.errors == {"connect: Connection refused": 10}
    assert gone.count == 0


@pytest.mark.parametrize("head", [b"", b"Content-Length: x\r\n"])
def test_an_answer_that_cannot_be_read_is_an_error_and_no_latency(head: bytes) -> None:
    with server(lambda number: 0.0, answer=b"HTTP/1.1 200 OK\r\n" + head + b"\r\n{}") as address:
        measured = Driver(address, Plain()).at_rate(100, 0.1)

    assert measured.errors.total() == 10
    assert measured.count == 0


def test_flat_out_asks_as_often_as_told() -> None:
    with server(lambda number: 0.0) as address:
        measured = Driver(address, Plain(), connections_max=4).flat_out(200)

    assert measured.count == 200
    assert measured.errors == {}
