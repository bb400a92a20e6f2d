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
from typing import NamedTuple, Protocol, TypeVar

FRESH, LEASED, RESPONSE = "fresh", "leased", "response"
KEPT = 20_000  # customers to render for again, and tokens to answer; older ones are forgotten

# In the order in which they are asked for; a simulated bank has web.page.slot_4 and so on when it was made with them.
PLACEMENTS = {
    "web": ("web.home.hero", "web.home.tile", "web.account.banner", *(f"web.page.slot_{at}" for at in range(4, 21))),
    "email": ("email.hero",),
    "call_center": ("call_center.next_action",),
}
ONE_PLACEMENT: Mapping[int, float] = {1: 1.0}
SOME_PLACEMENTS: Mapping[int, float] = {
    1: 0.7,
    2: 0.1,
    3: 0.2,
}  # of requests for web pages, by placements named
CHANNEL_SHARES = {"web": 0.7, "email": 0.2, "call_center": 0.1}
PAGES = ("home", "account", "cards", "loans", "savings")
OUTCOME_SHARES = {"impression": 0.8, "clicked": 0.15, "accepted": 0.02, "dismissed": 0.03}
TOKEN, LEASE = b'"event_token":"', b'"lease_of":"'

Drawn = TypeVar("Drawn")


class Moment(NamedTuple):
    """Who is asked about, and for what; the same again is a render of what was promised."""

    customer: int
    channel: str
    placements: int  # how many, from the first


class Asked(NamedTuple):
    """One request, and of which moment where its answer leads to more."""

    kind: str
    request: bytes
    moment: Moment | None = None


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
    placement_shares: Mapping[int, float] = field(default_factory=lambda: ONE_PLACEMENT)
    _random: Random = field(init=False)
    _new: Iterator[int] = field(init=False)
    _known: deque[Moment] = field(init=False)
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
            moment = self._known[int(self._random.random() * len(self._known))]
            return Asked(LEASED, self._decision(moment), moment)
        moment = self._new_moment()
        return Asked(FRESH, self._decision(moment), moment)

    def answered(self, asked: Asked, status: int, body: bytes) -> Verdict:
        """A decision's kind is what its answer says."""
        if status != 200:
            return Verdict(asked.kind, f"status_{status}")
        if asked.kind == RESPONSE:
            return Verdict(RESPONSE)
        if asked.kind == FRESH and asked.moment:
            self._known.append(asked.moment)
        if b'"degraded":true' in body:
            return Verdict(asked.kind, "degraded")
        if (start := body.find(TOKEN)) >= 0:
            start += len(TOKEN)
            self._tokens.append(body[start : body.index(b'"', start)])
        return Verdict(LEASED if LEASE in body else FRESH)

    def with_shares(self, shares: Shares) -> None:
        """Go on with other shares; who was asked stays known."""
        self.shares = shares

    def _new_moment(self) -> Moment:
        customer = next(self._new, None)
        if customer is None:
            self._new = iter(self.customers)
            customer = next(self._new)
        channel = self._drawn(self.channel_shares)
        return Moment(customer, channel, self._drawn(self.placement_shares) if channel == "web" else 1)

    def _drawn(self, shares: Mapping[Drawn, float]) -> Drawn:
        drawn = self._random.random()
        for name, share in shares.items():
            drawn -= share
            if drawn < 0.0:
                return name
        return next(iter(shares))

    def _decision(self, moment: Moment) -> bytes:
        return post("/v1/decisions", decision_body(moment, PAGES[int(self._random.random() * len(PAGES))]))


def decision_body(moment: Moment, page: str) -> bytes:
    """The body of a decision, which floors and peers are asked with, too."""
    names = '","'.join(PLACEMENTS[moment.channel][: moment.placements])
    return (
        f'{{"customer":{{"id":"C-{moment.customer:05d}"}},"channel":"{moment.channel}","placements":["{names}"],'
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
