"""One offer: whatever channels ask at once, a customer has one first offer in all of them while its lease lives.

    python -m tests.proofs.one_offer [CUSTOMERS] [PROCESSES]

Three channels, which left alone would each choose another action, ask for every customer at the same moment, each of
another serving process; then once more, while an answer to the first offer arrives through yet another. What was shown
is read from the log, whose order in a partition is that of the commits, and from the answers.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.customer import PARTITION_COUNT, Profile, SourceFacts
from decisioning.respond import ENDING_OUTCOMES
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.packing import parsed
from decisioning.store.protocol import Change
from decisioning.store.redis import connect
from tests.decisioning.bank import FILES
from tests.service.conftest import KEY, Installation, trained

CHANNELS = {"web": ["web.hero", "web.tile"], "email": ["email.hero"], "call": ["call.next"]}
TOLD = ("accepted", "accepted", "rejected", "rejected", *["impression"] * 4, *["clicked"] * 2)  # by customer number
AT_ONCE = 16  # customers; three requests each
LOG_PAGE = 1_000
STORED_AT_ONCE = 500

ACTION = """
  {name}:
    kind: offer
    action_value: {value}
    purpose: marketing
    context_weights: [{{when: 'channel == "{favourite}"', weight: 20.0}}]
    treatments:
{treatments}"""
TREATMENTS = {
    "web": '      web: {placements: [web.hero, web.tile], content: {headline: "For you"}}\n',
    "email": '      email: {placements: [email.hero], content: {headline: "For you"}}\n',
    "call": '      call: {placements: [call.next], content: {headline: "For you"}}\n',
}


def strategy_files() -> dict[str, str]:
    """A bank in which every channel has a favourite of its own; mail cannot show the call centre's."""
    plain = {path: text for path, text in FILES.items() if not path.startswith(("actions/", "contact_policies"))}
    places = "call.next: {channel: call, nothing_value: 0.5, fields: {headline: {type: text}}, fallback: brand}\n"
    offers = [
        ("gold", 40.0, "web", CHANNELS),
        ("silver", 30.0, "email", CHANNELS),
        ("loan", 20.0, "call", ("web", "call")),
    ]
    actions = [
        ACTION.format(name=name, value=value, favourite=own, treatments="".join(TREATMENTS[each] for each in shown))
        for name, value, own, shown in offers
    ]
    return plain | {
        "channels.yaml": FILES["channels.yaml"] + "call: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}\n",
        "placements.yaml": FILES["placements.yaml"] + places,
        "consents.yaml": FILES["consents.yaml"] + "call: {marketing: {absent: granted, basis: legitimate_interest}}\n",
        "actions/offers.yaml": "issue: grow\ngroup: offers\nactions:" + "".join(actions),
    }


@contextmanager
def installed(customer_count: int) -> Iterator[Installation]:
    """A server with the strategy, a model and the customers."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServer.start(Path(name) / "store") as server:
        model = trained(Path(name) / "models")
        asyncio.run(_furnish(server.url, model, customer_count))
        installation = Installation(Path(name), server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(Path(name) / "models")
        try:
            yield installation
        finally:
            installation.end()


async def _furnish(url: str, model: str, customer_count: int) -> None:
    store = connect(url, deadline_ms=30_000)
    files = {path: text.encode() for path, text in strategy_files().items()}
    await publish_strategy(store, files, load_bundle(files))
    await store.put("current", "model", model.encode())
    keys = [key_of(number) for number in range(customer_count)]
    for first in range(0, customer_count, STORED_AT_ONCE):
        changes = []
        for snapshot in await store.read(keys[first : first + STORED_AT_ONCE]):
            facts = SourceFacts(snapshot.now_ms, {"income": 500.0 + len(changes) * 10.0})
            changes.append(Change(snapshot.customer_key, 0, snapshot.state, Profile({"core": facts})))
        await store.commit(changes)
    await store.close()


def key_of(number: int) -> str:
    """The id of a customer."""
    return f"C-{number:05d}"


@dataclass(slots=True)
class Shown:
    """What the callers of one run were told."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    lost_races: int = 0
    seconds: float = 0.0


async def asked(bases: list[str], customer_count: int) -> Shown:
    """Every customer, by all channels at once, twice; the second time beside an answer to what was offered first."""
    shown, gate = Shown(), asyncio.Semaphore(AT_ONCE)
    limits = httpx.Limits(max_connections=4 * AT_ONCE)
    clients = [httpx.AsyncClient(base_url=base, headers=KEY, timeout=60, limits=limits) for base in bases]

    async def one(number: int) -> None:
        async with gate:
            near = [clients[(number + turn) % len(clients)] for turn in range(4)]
            first = await _at_once(near, number)
            answered = next((offer for each in first if (offer := first_offer(each["placements"]))), None)
            telling = [] if answered is None else [_tell(near[3], answered, TOLD[number % len(TOLD)], shown)]
            second, *_ = await asyncio.gather(_at_once(near[1:], number), *telling)
            shown.answers += first + second

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(customer_count)))
    shown.seconds = time.perf_counter() - started
    for client in clients:
        shown.lost_races += _lost_races((await client.get("/metrics")).text)
        await client.aclose()
    return shown


async def _at_once(clients: list[httpx.AsyncClient], number: int) -> list[dict[str, Any]]:
    """Each channel asks another process."""
    asks = []
    for client, (channel, placements) in zip(clients, CHANNELS.items(), strict=False):
        body = {"customer": {"id": key_of(number)}, "channel": channel, "placements": placements}
        asks.append(client.post("/v1/decisions", json=body))
    answers = await asyncio.gather(*asks)
    for answer in answers:
        answer.raise_for_status()
    return [answer.json() for answer in answers]


async def _tell(client: httpx.AsyncClient, offer: Mapping[str, Any], outcome: str, shown: Shown) -> None:
    if offer["event_token"] is not None:  # a degraded answer has none
        (
            await client.post("/v1/responses", json={"event_token": offer["event_token"], "outcome": outcome})
        ).raise_for_status()
        shown.told[outcome] += 1


def _lost_races(text: str) -> int:
    return sum(int(float(line.split()[1])) for line in text.splitlines() if line.startswith("commits_lost_total "))


def first_offer(placements: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The first offer of an answer or record."""
    return next((placed for placed in placements if placed["outcome"] == "offer"), None)


@dataclass(slots=True)
class Promise:
    """One first offer of one customer, from its draw to its end."""

    action: str
    at_ms: int
    until_ms: int
    channels: set[str] = field(default_factory=set)


def _ends(record: Mapping[str, Any], promise: Promise) -> bool:
    """True for an answer to the promise that was given after it."""
    is_answer = record["kind"] == "response" and record["outcome"] in ENDING_OUTCOMES
    return is_answer and record["action"] == promise.action and record["at_ms"] >= promise.at_ms


@dataclass(slots=True)
class Verdict:
    """What the log says."""

    record_count: int = 0
    promises: dict[str, list[Promise]] = field(default_factory=dict)  # by person, the last one lives
    broken: set[str] = field(default_factory=set)  # persons
    first_offers: dict[str, str | None] = field(default_factory=dict)  # by decision

    def take(self, record: Mapping[str, Any]) -> None:
        """The next record of a partition, in the order of commits."""
        self.record_count += 1
        promises = self.promises.setdefault(record["person_key"], [])
        living = promises[-1] if promises and promises[-1].until_ms > record["at_ms"] else None
        if record["kind"] == "decision":
            self._decided(record, promises, living)
        elif living is not None and _ends(record, living):
            living.until_ms = 0

    def _decided(self, record: Mapping[str, Any], promises: list[Promise], living: Promise | None) -> None:
        offer = first_offer(record["placements"])
        self.first_offers[record["decision_id"]] = offer["action"] if offer else None
        if offer is None:
            return
        if living is None:
            living = Promise(offer["action"], record["at_ms"], offer["valid_until_ms"])
            promises.append(living)
        elif offer["action"] != living.action:
            self.broken.add(record["person_key"])
        living.channels.add(record["channel"])

    def met_in_several(self) -> set[str]:
        """The persons who had one living first offer in at least two channels, or two where one was promised."""
        return self.broken | {
            person for person, promises in self.promises.items() if any(len(each.channels) > 1 for each in promises)
        }


async def judged(url: str) -> Verdict:
    """The log of all partitions."""
    store, verdict = connect(url, deadline_ms=30_000), Verdict()
    for partition in range(PARTITION_COUNT):
        after = "0-0"
        while entries := await store.log(partition, after=after, limit=LOG_PAGE):
            for entry in entries:
                verdict.take(parsed(entry.record.body))
            after = entries[-1].position
    await store.close()
    return verdict


def strangers(shown: Shown, verdict: Verdict) -> int:
    """How many answers showed another first offer than their record; a degraded one, than any record's promise."""
    promised = {decision for decision, action in verdict.first_offers.items() if action is not None}
    count = 0
    for answer in shown.answers:
        offer = first_offer(answer["placements"])
        if answer["degraded"]:
            count += offer is not None and offer["lease_of"] not in promised
        else:
            count += verdict.first_offers[answer["decision_id"]] != (offer["action"] if offer else None)
    return count


def run(customer_count: int, process_count: int) -> tuple[Shown, Verdict]:
    """Ask everybody on a new installation."""
    with installed(customer_count) as installation:
        bases = [installation.serve()[1] for _ in range(process_count)]
        shown = asyncio.run(asked(bases, customer_count))
        return shown, asyncio.run(judged(installation.url))


def main(customer_count: int = 10_000, process_count: int = 4) -> None:
    """Print what came out; exits with 1 when the claim does not hold."""
    shown, verdict = run(customer_count, process_count)
    several = verdict.met_in_several()
    share = 1.0 - len(verdict.broken) / max(len(several), 1)
    degraded = sum(answer["degraded"] for answer in shown.answers)
    drawn = Counter(promises[0].action for promises in verdict.promises.values() if promises)
    print(f"{customer_count:,} customers, {process_count} processes, {len(CHANNELS)} channels at once: "
          f"{len(shown.answers):,} answers and {sum(shown.told.values()):,} responses in {shown.seconds:.0f} s; "
          f"{verdict.record_count:,} records")  # fmt: skip
    print(f"first offers drawn: {dict(drawn)}; responses: {dict(shown.told)}")
    print(f"customers with an offer in at least two channels: {len(several):,}")
    print(f"first offer the same in all while its lease lived: {share:.2%}")
    print(f"commits that lost a race and were decided again: {shown.lost_races:,}; degraded answers: {degraded:,}")
    unlike = strangers(shown, verdict)
    print(f"answers whose first offer is not the recorded one: {unlike}")
    if verdict.broken or unlike or shown.lost_races == 0 or len(several) < customer_count // 2:
        sys.exit("FAILED")


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
