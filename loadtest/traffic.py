"""Traffic: who asks what, in which order, and what an answer means for what is asked next.

A script is drawn from the seed. Fresh decisions are asked for customers who were not asked before, renders for those
who were, in the channel in which they were; responses answer a decision by its token. What a request was meant to be
and what it turned out to be can differ (a promise ends, a customer says no), so latencies are kept by what the answer
says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

FRESH, LEASED, RESPONSE = "fresh", "leased", "response"
KEPT = 20_000  # customers to render for again, and tokens to answer; older ones are forgotten

PLACEMENTS = {"web": "web.home.hero", "email": "email.hero", "call_center": "call_center.next_action"}
CHANNEL_SHARES = {"web": 0.7, "email": 0.2, "call_center": 0.1}
PAGES = ("home", "account", "cards", "loans", "savings")
OUTCOME_SHARES = {"impression": 0.8, "clicked": 0.15, "accepted": 0.02, "dismissed": 0.03}
TOKEN, LEASE = b'"event_token":"', b'"lease_of":"'


class Asked(NamedTuple):
    """One request, and whom it is about where its answer leads to more."""

    kind: str
    request: bytes
    customer: int = 0
    channel: str = ""


class Verdict(NamedTuple):
    """What an answer was, and what was wrong with it, if anything."""

    kind: str
    error: str | None = None


class Traffic(Protocol):
    """What a driver sends."""

    def next(self) -> Asked:
        """The next request."""

    def answered(self, asked: Asked, status: int, body: bytes) -> Verdict:
        """Take note of an answer."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all requests; what is left is responses."""

    fresh: float
    leased: float

    def __str__(self) -> str:
        return f"{self.fresh:.0%} fresh, {self.leased:.0%} leased, {1 - self.fresh - self.leased:.0%} responses"


MIXED, ONLY_FRESH, ONLY_LEASED = Shares(0.3, 0.5), Shares(1.0, 0.0), Shares(0.0, 1.0)


@dataclass(slots=True)
class DecisionTraffic:
    """Customers in three channels, answering now and then.

    customers  numbers of those who have not been asked yet, in order; when all were, the first come again
    """

    seed: int
    customers: range
    shares: Shares = MIXED
    channel_shares: Mapping[str, float] = field(default_factory=lambda: CHANNEL_SHARES)
    _random: Random = field(init=False)
    _new: Iterator[int] = field(init=False)
    _known: deque[tuple[int, str]] = field(init=False)
    _tokens: deque[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._new = iter(self.customers)
        self._known, self._tokens = deque(maxlen=KEPT), deque(maxlen=KEPT)

    def next(self) -> Asked:
        """A fresh decision, a render or a response; what is not possible yet becomes a fresh decision."""
        drawn = self._random.random()
        if drawn >= self.shares.fresh + self.shares.leased and self._tokens:
            return Asked(RESPONSE, response_request(self._tokens.popleft(), self._drawn(OUTCOME_SHARES)))
        if drawn >= self.shares.fresh and self._known:
            customer, channel = self._known[int(self._random.random() * len(self._known))]
            return Asked(LEASED, self._decision(customer, channel), customer, channel)
        customer, channel = self._new_customer(), self._drawn(self.channel_shares)
        return Asked(FRESH, self._decision(customer, channel), customer, channel)

    def answered(self, asked: Asked, status: int, body: bytes) -> Verdict:
        """A decision's kind is what its answer says."""
        if status != 200:
            return Verdict(asked.kind, f"status_{status}")
        if asked.kind == RESPONSE:
            return Verdict(RESPONSE)
        if asked.kind == FRESH:
            self._known.append((asked.customer, asked.channel))
        if b'"degraded":true' in body:
            return Verdict(asked.kind, "degraded")
        if (start := body.find(TOKEN)) >= 0:
            start += len(TOKEN)
            self._tokens.append(body[start : body.index(b'"', start)])
        return Verdict(LEASED if LEASE in body else FRESH)

    def with_shares(self, shares: Shares) -> None:
        """Go on with other shares; who was asked stays known."""
        self.shares = shares

    def _new_customer(self) -> int:
        customer = next(self._new, None)
        if customer is None:
            self._new = iter(self.customers)
            customer = next(self._new)
        return customer

    def _drawn(self, shares: Mapping[str, float]) -> str:
        drawn = self._random.random()
        for name, share in shares.items():
            drawn -= share
            if drawn < 0.0:
                return name
        return next(iter(shares))

    def _decision(self, customer: int, channel: str) -> bytes:
        page = PAGES[int(self._random.random() * len(PAGES))]
        return decision_request(customer, channel, page)


def decision_request(customer: int, channel: str, page: str) -> bytes:
    """One decision for one placement."""
    return post("/v1/decisions", decision_body(customer, page, channel))


def decision_body(customer: int, page: str, channel: str = "web") -> bytes:
    """Its body, which floors and peers are asked with, too."""
    return (
        f'{{"customer":{{"id":"C-{customer:05d}"}},"channel":"{channel}","placements":["{PLACEMENTS[channel]}"],'
        f'"context":{{"page":"{page}","device":"mobile"}}}}'
    ).encode()


def response_request(token: bytes, outcome: str) -> bytes:
    """What came of a decision."""
    return post("/v1/responses", b'{"outcome":"%b","event_token":"%b"}' % (outcome.encode(), token))


def post(path: str, body: bytes) -> bytes:
    """An HTTP request, ready to send."""
    return (
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer demo-key\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )
