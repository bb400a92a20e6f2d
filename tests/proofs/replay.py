"""Replay and erasure: what was decided comes out the same, and who is erased is gone while the counts stay.

    python -m tests.proofs.replay [DECISIONS] [CUSTOMERS] [ERASED]

Decisions are made over HTTP by two serving processes, in two channels and for mails that persons, proxies and unknown
clients open, with leases, limits, budgets, consents, quiet hours, exploration and a model that learns meanwhile. When
all are in history, `nextbest replay` makes them again. Then customers are erased, and their mails opened once more;
every key of the store and every file of history is searched for what names them, and every sealed value of theirs is
tried with every key that is left.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import httpx
import orjson
import redis

from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.customer import Profile, SourceFacts
from decisioning.errors import SealBroken
from decisioning.history.reader import open_history
from decisioning.sealing import unseal
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.protocol import Change
from decisioning.store.redis import connect
from tests.any_order.operations import READERS
from tests.any_order.town import CHANNELS_FILE, LIST, POLICIES, VOLUME
from tests.decisioning.bank import FILES
from tests.proofs.mailroom import Mailroom
from tests.service.conftest import KEY, Installation, trained

ASKERS = 4
PATIENCE_S = 300  # far beyond what is needed: only a loss gets there
ZONES = ("Europe/Budapest", "Asia/Tokyo", "America/New_York")
POLICED = "contact_policies: [fatigue, rest, seen, post]"
LISTED = {path: text.replace("[web.hero, web.tile]", "[web.hero, web.tile, web.list]") for path, text in FILES.items()}
POLICED_SILVER = f"action_value: 50.0\n    {POLICED}\n    volume_constraints: {{stock: 1, mails: 1}}\n"
CARDS = (
    LISTED["actions/cards.yaml"]
    .replace("contact_policies: [fatigue]", f"{POLICED}\n    volume_constraints: {{gifts: 1, mails: 1}}")
    .replace("action_value: 50.0\n", POLICED_SILVER)
)
BANK = {
    **LISTED,
    "actions/cards.yaml": CARDS,
    "strategy.yaml": FILES["strategy.yaml"]
    + "timezone_attribute: customer.timezone\nexploration: {sacrifice: 0.3, issues: [grow, nurture]}\n"
    + 'holdout: {share: 0.1, salt: "proof", gets: nothing}\n',
    "schema.yaml": FILES["schema.yaml"].replace("context:", "  timezone: {type: string, source: crm}\ncontext:"),
    "channels.yaml": CHANNELS_FILE,
    "placements.yaml": FILES["placements.yaml"] + LIST,
    "contact_policies.yaml": POLICIES,
    "volume_constraints.yaml": VOLUME.replace("limit: 5,", "limit: 3000,").replace("limit: 2,", "limit: 500,"),
}
PLACES = (("web", ["web.hero", "web.tile"]), ("web", ["web.list"]), ("email", ["email.hero"]))
BY_PERSON, BY_OTHERS = "client_class = 'person'", "client_class <> 'person'"
COUNTS = {
    "decisions": "SELECT count(*), sum(draw_index) FROM decisions",
    "responses": "SELECT outcome, count(*), sum(value) FROM responses GROUP BY 1 ORDER BY 1",
    "told": "SELECT count(*) FROM responses WHERE NOT contains(coalesce(more, ''), 'client_class')",  # not by opening
    "placements": "SELECT action, outcome, count(*), sum(expected_value) FROM placements GROUP BY 1, 2 ORDER BY 1, 2",
}

Answer = dict[str, Any]


class Person(NamedTuple):
    """A customer, and what would betray them."""

    customer_id: str
    first_name: str
    person_key: str
    sealing_key: str

    @property
    def needles(self) -> tuple[bytes, ...]:
        """What must be nowhere after an erasure."""
        return self.customer_id.encode(), self.first_name.encode(), self.sealing_key.encode()


def main(decision_count: int = 10_000, customer_count: int = 1_000, erased_count: int = 100) -> None:
    """Both parts of the claim, on a new installation."""
    with tempfile.TemporaryDirectory() as name, EmbeddedServer.start(Path(name) / "store") as server:
        model = trained(Path(name) / "models")
        people = asyncio.run(_furnish(server.url, model, customer_count))
        installation = Installation(Path(name), server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(Path(name) / "models")
        try:
            held = proved(installation, people, decision_count, erased_count)
        finally:
            installation.end()
    if not held:
        sys.exit("FAILED")


def proved(installation: Installation, people: Sequence[Person], decision_count: int, erased_count: int) -> bool:
    """True when nothing differs, and nothing of the erased is left but counts."""
    _, base = installation.serve(workers=2)
    installation.start("worker")
    room = Mailroom.at(installation.url)
    with httpx.Client(base_url=base, headers=KEY, timeout=60) as http:
        decided, told_count = _decide(http, room, people, decision_count)
        _arrived(installation, decision_count, told_count)
        _describe(installation)
        before = _replayed(installation)
        print(f"replayed: {_told(before)}", flush=True)
        people = asyncio.run(_known(installation.url, people))  # keys are made with the first commit
        erased, living = people[:erased_count], people[erased_count:]
        counts, seen_before = _counts(installation), len(_found(installation, erased))
        for person in erased:
            assert http.delete(f"/v1/customers/{person.customer_id}").status_code == 200
        gone = [http.get(f"/v1/decisions/{decided[each.customer_id]}").status_code for each in erased]
        for person in erased:  # mails to them are still out
            _open_mail(http, room, person, "person")
            _open_mail(http, room, person, "proxy")
    told = installation.command("explain", decided[erased[0].customer_id])
    after = _replayed(installation)
    found, opened = _found(installation, erased), _opened(installation, erased, living)
    own = sum(each["person_key"] in {person.person_key for person in erased} for each in _sealed(installation))
    print(f"after erasing {len(erased)} customers with {own:,} decisions: {_told(after)}")
    print(f"  explanations answered 410: {gone.count(410)} of {len(gone)}; the command: {told.stderr.strip()!r}")
    print(f"  found of them in {_scanned(installation)}: {len(found)}; before it was {seen_before}")
    print(f"  sealed values of theirs that a key opens: {opened[0]}, tried {opened[1]:,} times; control {opened[2]}")
    print(f"  counts as before: {_counts(installation) == counts}", flush=True)
    for needle in found[:5]:
        print(f"    {needle}")
    return (
        before["decisions"] == before["reproduced"] == decision_count
        and after["erased"] == own
        and after["differing"] == 0
        and after["reproduced"] + after["erased"] + sum(after["gone"].values()) == decision_count
        and gone == [410] * len(gone)
        and told.returncode == 1
        and "erased" in told.stderr
        and seen_before > 0
        and not found
        and opened[0] == 0 < opened[2]
        and _counts(installation) == counts
    )


async def _furnish(url: str, model: str, count: int) -> list[Person]:
    store = connect(url, deadline_ms=30_000)
    files = {path: text.encode() for path, text in BANK.items()}
    await publish_strategy(store, files, load_bundle(files))
    await store.put("current", "model", model.encode())
    people, changes = [], []
    for number in range(count):
        person = Person(f"E-{number:05d}-{secrets.token_hex(6)}", f"Ann-{secrets.token_hex(8)}", "", "")
        [snapshot] = await store.read([person.customer_id])
        crm = {"age": 20 + number % 60, "tier": "classic", "language": "en", "first_name": person.first_name}
        crm |= {"timezone": ZONES[number % len(ZONES)]}
        core = {"income": 500.0 + 5 * number, "suspicious": number % 20 == 0}
        sources = {name: SourceFacts(snapshot.now_ms, facts) for name, facts in (("crm", crm), ("core", core))}
        changes.append(Change(person.customer_id, 0, snapshot.state, Profile(sources)))
        people.append(person)
    await store.commit(changes)
    await store.close()
    return people


async def _known(url: str, people: Sequence[Person]) -> list[Person]:
    store = connect(url, deadline_ms=30_000)
    snapshots = await store.read([each.customer_id for each in people])
    await store.close()
    keys = [(each.state.person_key, each.state.sealing_key) for each in snapshots]
    return [each._replace(person_key=key[0], sealing_key=key[1]) for each, key in zip(people, keys, strict=True)]


def _decide(http: httpx.Client, room: Mailroom, people: Sequence[Person], count: int) -> tuple[dict[str, str], int]:
    """Make so many decisions, answer some, give and withdraw consents; a decision of each, and how many answers."""
    chance = random.Random(1)

    def ask(number: int) -> tuple[str, str | None, int]:
        person, (channel, placements) = people[number % len(people)], chance.choice(PLACES)
        if number >= len(people) and chance.random() < 0.25:
            _open_mail(http, room, person, chance.choice(["person", "proxy", "proxy", "unknown"]))
            return person.customer_id, None, 0
        body = {"customer": {"id": person.customer_id}, "channel": channel, "placements": placements}
        body |= {"context": {"page": chance.choice(["home", "loans"])}, "idempotency_key": f"ask-{number}"}
        if channel == "email":
            body["sending"] = chance.random() < 0.5
        while (answer := http.post("/v1/decisions", json=body)).json()["degraded"]:
            time.sleep(0.01)
        told = _react(http, answer.json(), person, chance)
        return person.customer_id, answer.json()["decision_id"], told

    with ThreadPoolExecutor(ASKERS) as askers:
        asked = list(askers.map(ask, range(count)))
    return {who: decision_id for who, decision_id, _ in asked if decision_id}, sum(told for *_, told in asked)


def _open_mail(http: httpx.Client, room: Mailroom, person: Person, by: str) -> None:
    """The picture of a new mail is fetched: one decision each time, because no token comes twice."""
    assert http.get(f"/e/{room.token(person.customer_id)}.png", headers=READERS[by]).status_code == 200


def _react(http: httpx.Client, answer: Answer, person: Person, chance: random.Random) -> int:
    """Answer what was shown, sometimes; how many answers that were."""
    told_count = 0
    for placed in answer["placements"]:
        if placed["event_token"] and chance.random() < 0.4:
            outcome = chance.choice(["impression", "clicked", "accepted", "rejected", "dismissed"])
            told = http.post("/v1/responses", json={"event_token": placed["event_token"], "outcome": outcome})
            assert told.status_code == 200, told.text
            told_count += told.json()["status"] == "counted"
    if chance.random() < 0.03:
        said = [{"channel": "email", "purpose": "marketing", "granted": chance.random() < 0.5}]
        assert http.put(f"/v1/customers/{person.customer_id}/consents", json=said).status_code == 200
    return told_count


def _arrived(installation: Installation, decision_count: int, told_count: int) -> None:
    """Return when all of it is in history."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        counts = _counts(installation)
        found = counts["decisions"][0][0], counts["told"][0][0]
        if found == (decision_count, told_count):
            return
        assert time.monotonic() < deadline_s, f"{found} of {decision_count, told_count} in history"
        time.sleep(0.5)


def _counts(installation: Installation) -> dict[str, list[tuple[Any, ...]]]:
    with closing(open_history(installation.data_dir / "history")) as history:
        return {name: history.execute(query).fetchall() for name, query in COUNTS.items()}


def _describe(installation: Installation) -> None:
    """What kinds of decisions these are."""
    with closing(open_history(installation.data_dir / "history")) as history:

        def count(what: str, table: str) -> int:
            return int(history.execute(f"SELECT count(*) FROM {table} WHERE {what}").fetchall()[0][0])

        states = history.execute("SELECT count(DISTINCT versions) FROM decisions").fetchall()[0][0]
        print(
            f"{count('true', 'decisions'):,} decisions by {states} versions: "
            f"{count('selection_probability < 1', 'placements'):,} explored draws, "
            f"{count('lease_of IS NOT NULL AND action IS NOT NULL', 'placements'):,} offers rendered again, "
            f"{count('rank > 1', 'placements'):,} further ranks, {count('holdout', 'decisions'):,} of holdouts, "
            f"{count('sending', 'decisions'):,} sent, {count(BY_PERSON, 'decisions'):,} for mails that persons opened, "
            f"{count(BY_OTHERS, 'decisions'):,} for what else fetched mails"
        )


def _replayed(installation: Installation) -> Answer:
    command = [sys.executable, "-m", "api.cli", "replay", "--json"]
    ran = subprocess.run(command, env=installation.environment, capture_output=True, text=True, timeout=900)
    assert ran.stdout, ran.stderr
    answer: Answer = orjson.loads(ran.stdout)
    for each in answer["differences"][:5]:
        print(f"  differs: {each}")
    return answer


def _told(replayed: Answer) -> str:
    gone = Counter(replayed["gone"]).total()
    return (
        f"{replayed['decisions']:,} decisions, {replayed['reproduced']:,} the same, {replayed['differing']:,} differ, "
        f"{replayed['erased']:,} erased, {gone:,} whose model state is gone"
    )


def _found(installation: Installation, people: Sequence[Person]) -> list[str]:
    """Where anything is that names one of these people."""
    needles = [needle for person in people for needle in person.needles]
    return [
        f"{where}: {needle.decode()}"
        for where, content in _contents(installation)
        for needle in needles
        if needle in content
    ]


def _scanned(installation: Installation) -> str:
    size, count = 0, 0
    for _, content in _contents(installation):
        size, count = size + len(content), count + 1
    return f"{count:,} keys and files of {size >> 20:,} MB"


def _contents(installation: Installation) -> Iterator[tuple[str, bytes]]:
    """Every key of the store with all it holds, and every file of history in clear."""
    read = {b"string": "get", b"hash": "hgetall", b"set": "smembers", b"stream": "xrange", b"zset": "zrange"}
    with redis.Redis.from_url(installation.url) as client:
        for key in client.scan_iter(count=1_000):
            kind = client.type(key)
            ends = (0, -1) if kind == b"zset" else ()
            yield key.decode(), key + repr(getattr(client, read[kind])(key, *ends)).encode()
    for path in sorted((installation.data_dir / "history").rglob("*")):
        if path.suffix == ".parquet":
            rows = duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()
            yield path.name, repr(rows).encode()
        elif path.is_file():
            yield path.name, path.read_bytes()


def _sealed(installation: Installation) -> list[Answer]:
    with closing(open_history(installation.data_dir / "history")) as history:
        rows = history.execute("SELECT person_key, sealed FROM decisions").fetchall()
    return [{"person_key": person_key, "sealed": sealed} for person_key, sealed in rows]


def _opened(installation: Installation, erased: Sequence[Person], living: Sequence[Person]) -> tuple[int, int, int]:
    """How many sealed values of the erased a living key opens, of how many tries; and of how many living their own."""
    gone, ours = {each.person_key for each in erased}, {each.person_key: each.sealing_key for each in living}
    opened = tried = control = 0
    for each in _sealed(installation):
        if each["person_key"] in gone:
            tried += len(ours)
            opened += any(_opens(key, each["sealed"]) for key in ours.values())
        else:
            control += _opens(ours[each["person_key"]], each["sealed"])
    return opened, tried, control


def _opens(key: str, sealed: str) -> bool:
    try:
        return bool(unseal(key, sealed))
    except SealBroken:
        return False


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
