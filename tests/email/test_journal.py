"""The journal: what people did while the store was down is counted once, whoever dies when."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.email.tokens import opened
from api.errors import Problem
from api.instants import wall_ms
from api.journal import Journal
from api.respond import identity_of, named_by_token
from api.taking import FOLLOWED, count_kept, take
from api.tokens import Sealer, installation_sealer, renewed_sealer, rotate
from decisioning.errors import StoreUnavailable
from decisioning.interactions import DAY_MS
from decisioning.respond import UNDATED, Response, ended_by
from decisioning.store.memory import MemoryStore
from tests.decisioning.bank import GOLD
from tests.email.post import APPLE, BANK, Post

pytestmark = pytest.mark.anyio
SEALER = Sealer({"k1": b"k" * 32})


class Switch(MemoryStore):
    """A store that can be down."""

    is_down = False

    async def read(self, *arguments: Any, **more: Any) -> Any:
        self._look()
        return await super().read(*arguments, **more)

    async def commit(self, *arguments: Any) -> Any:
        self._look()
        return await super().commit(*arguments)

    async def ping(self) -> None:
        self._look()

    def _look(self) -> None:
        if self.is_down:
            raise StoreUnavailable("down")


async def counted_in(journal: Journal) -> list[Any]:
    found = []

    async def count(kind: str, fields: Any) -> None:
        found.append((kind, fields))

    await journal.replay(SEALER, count)
    return found


def answer(token: str, outcome: str, post: Post) -> Response:
    named = named_by_token(post.service, token, "event_token")
    identity = identity_of(named["decision_id"], named["placement"], named["action"], outcome)
    return Response(identity, outcome=outcome, ends=ended_by(outcome, named["action"], BANK), at_ms=UNDATED, **named)


async def a_post(tmp_path: Path) -> tuple[Post, Switch]:
    store = Switch()
    post = Post(store)
    post.service.journal = Journal(tmp_path)
    return post, store


async def test_a_thousand_answers_taken_while_the_store_is_down_count_once_each(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    tokens = []
    for number in range(1000):
        await post.know(f"C-{number}")
        tokens.append((await post.ask(customer=f"C-{number}"))["placements"][0]["event_token"])

    store.is_down = True
    before_ms = wall_ms()
    taken = [status for each in tokens for status in await take(post.service, answer(each, "clicked", post))]
    with pytest.raises(StoreUnavailable):
        await _replay(post)
    store.is_down = False
    first, second = await _replay(post), await _replay(post)

    assert set(taken) == {"kept"} and (first, second) == (1000, 0)
    states = [each.state for each in await store.read([f"C-{number}" for number in range(1000)])]
    assert [[each.outcome for each in state.interactions] for state in states] == [["selected", "clicked"]] * 1000
    assert all(state.interactions[-1].at_ms >= before_ms for state in states)


async def test_what_was_counted_before_a_crash_is_not_counted_again(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    await post.know()
    token = (await post.ask())["placements"][0]["event_token"]
    store.is_down = True
    await take(post.service, answer(token, "accepted", post))
    store.is_down = False
    await take(post.service, answer(token, "accepted", post))  # it was counted, and the file is still there

    await _replay(post)

    assert [each.outcome for each in (await post.state()).interactions] == ["selected", "accepted"]


async def test_an_answer_is_counted_at_once_while_the_store_is_there(tmp_path: Path) -> None:
    post, _ = await a_post(tmp_path)
    await post.know()
    token = (await post.ask())["placements"][0]["event_token"]

    taken = await take(post.service, *[answer(token, "clicked", post)] * 2)

    assert taken == ["counted", "repeated"] and list(tmp_path.iterdir()) == []


async def test_a_mails_link_followed_while_the_store_is_down_is_noted_afterwards(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    await post.know()
    token = post.token()
    await post.fetch(token, by=APPLE)

    store.is_down = True
    link = await post.follow(token)
    store.is_down = False
    count = await _replay(post)

    assert link.headers["location"] == "https://bank.example/" and count == 1
    (note,) = [each for each in await post.records() if each.get("outcome") == "followed"]
    assert (note["action"], note["client_class"], note["led_to"]) == (GOLD, "person", "nearest")
    assert opened(post.service.seals, token).customer_key not in str(note)


async def test_an_entry_of_somebody_erased_since_is_dropped(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    await post.know()
    token = (await post.ask())["placements"][0]["event_token"]
    store.is_down = True
    await take(post.service, answer(token, "clicked", post))
    store.is_down = False
    await post.http.delete("/v1/customers/C-1")

    await _replay(post)

    (snapshot,) = await store.read(["C-1"])
    assert snapshot.state_version == 0 and list(tmp_path.iterdir()) == []


async def test_answers_that_come_together_share_one_deadline(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    await post.know()
    token = (await post.ask())["placements"][0]["event_token"]
    asked = []

    async def silent(*arguments: Any, **more: Any) -> Any:
        asked.append(arguments)
        await asyncio.Event().wait()

    store.read = silent  # type: ignore[method-assign]
    post.deadline(250)
    taken = await take(post.service, *(answer(token, outcome, post) for outcome in ("impression", "clicked") * 25))

    assert taken == ["kept"] * 50 and len(asked) == 1


async def test_an_entry_that_nobody_can_count_is_set_aside_and_the_others_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.take(Sealer({"k0": b"o" * 32}), FOLLOWED, {"n": 0})  # another installation's, or a lost key
    for number in (1, 2, 3):
        await journal.take(SEALER, FOLLOWED, {"n": number})
    found = []

    async def count(kind: str, fields: Any) -> None:
        if fields["n"] == 2:
            raise KeyError("an attribute that no longer is")
        found.append(fields["n"])

    counts = [await journal.replay(SEALER, count) for _ in range(2)]

    (aside,) = tmp_path.iterdir()
    assert found == [1, 3] and counts == [2, 0]
    assert aside.suffix == ".refused" and len(aside.read_bytes().splitlines()) == 2
    aside.rename(aside.with_suffix(".journal"))  # what somebody does who has mended it
    assert [fields["n"] for _, fields in await counted_in(journal)] == [2]


async def test_an_entry_sealed_by_a_key_that_came_meanwhile_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    old = await installation_sealer(store)
    await rotate(store, now_ms=0)
    other = Journal(tmp_path)  # of a process that knew the new key, and was killed
    await other.take(await installation_sealer(store), FOLLOWED, {"n": 1})
    other.close()
    replayed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def count(kind: str, fields: Any) -> None:
        replayed.set_result(fields)

    keeping = asyncio.create_task(Journal(tmp_path).keep(lambda: renewed_sealer(store, old), count))

    assert await asyncio.wait_for(replayed, 10) == {"n": 1}
    keeping.cancel()


async def test_a_store_that_comes_back_empty_counts_nothing_and_loses_nothing(tmp_path: Path) -> None:
    sealer = await installation_sealer(MemoryStore())
    journal = Journal(tmp_path)
    await journal.take(sealer, FOLLOWED, {"n": 1})
    looked = asyncio.Event()

    async def keys() -> Sealer:
        looked.set()
        return await renewed_sealer(MemoryStore(), sealer)

    async def count(kind: str, fields: Any) -> None:
        raise AssertionError("counted in an empty store")

    keeping = asyncio.create_task(journal.keep(keys, count))
    await asyncio.wait_for(looked.wait(), 10)
    await asyncio.sleep(0)
    keeping.cancel()

    journal.close()
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".journal" and path.stat().st_size > 0


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes: what reaches further is written in part, then refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_is_full_keeps_no_half_of_a_line_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.take(SEALER, FOLLOWED, {"n": 0})
    (path,) = tmp_path.iterdir()

    with room_for(path.stat().st_size + 20), pytest.raises(Problem) as refused:
        await journal.take(SEALER, FOLLOWED, {"n": 1})
    await journal.take(SEALER, FOLLOWED, {"n": 2})

    assert refused.value.status == 503 and refused.value.retry_after_s
    assert [path.read_bytes()[-1:] for path in tmp_path.iterdir()] == [b"\n", b"\n"]
    assert sorted(fields["n"] for _, fields in await counted_in(journal)) == [0, 2]


async def test_where_nothing_can_be_written_an_answer_is_refused_and_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("not a directory")
    journal = Journal(tmp_path / "journal")

    taken = await asyncio.gather(
        *(journal.take(SEALER, FOLLOWED, {"n": each}) for each in range(3)), return_exceptions=True
    )

    assert [isinstance(each, Problem) and each.code for each in taken] == ["store_unavailable"] * 3


async def test_an_answer_older_than_any_token_counts_at_its_own_time(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    await post.know()
    token = (await post.ask())["placements"][0]["event_token"]
    at_ms = wall_ms() - 400 * DAY_MS
    clicked = answer(token, "clicked", post)
    partition, _, rest = str(clicked.decision_id).split("-")
    store.is_down = True
    await take(post.service, replace(clicked, at_ms=at_ms, decision_id=f"{partition}-{at_ms - DAY_MS:x}-{rest}"))
    store.is_down = False

    await _replay(post)

    (told,) = [each for each in await post.records() if each.get("outcome") == "clicked"]
    assert told["at_ms"] == at_ms and list(tmp_path.iterdir()) == []


async def test_a_full_journal_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=1_000)
    taken = 0

    with pytest.raises(Problem) as full:
        while True:
            await journal.take(SEALER, FOLLOWED, {"n": taken})
            taken += 1

    assert full.value.status == 503 and full.value.retry_after_s
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000
    assert len(await counted_in(journal)) == taken > 3


async def test_nobody_reads_a_customer_in_it_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        await journal.take(SEALER, FOLLOWED, {"customer_key": "C-secret", "n": number})
    journal.close()
    (path,) = tmp_path.iterdir()
    packed = path.read_bytes()
    path.write_bytes(packed[:-20])
    mode = path.stat().st_mode

    entries = await counted_in(journal)

    assert b"C-secret" not in packed and mode & 0o077 == 0
    assert [fields["n"] for _, fields in entries] == [0, 1]


def _write_until_killed(folder: str, pipe: Any) -> None:
    journal = Journal(Path(folder))

    async def write() -> None:
        for number in range(10_000):
            await journal.take(SEALER, FOLLOWED, {"n": number})
            pipe.send(number)  # acknowledged

    asyncio.run(write())


async def test_what_was_acknowledged_outlives_a_killed_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_write_until_killed, args=(str(tmp_path), theirs))
    process.start()
    acknowledged = [ours.recv() for _ in range(50)]
    alive = await counted_in(Journal(tmp_path))  # its writer lives and holds the lock

    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    while ours.poll():
        acknowledged.append(ours.recv())
    entries = await counted_in(Journal(tmp_path))

    assert alive == []
    numbers = [fields["n"] for _, fields in entries]
    assert numbers[: len(acknowledged)] == acknowledged and len(numbers) <= len(acknowledged) + 1
    assert list(tmp_path.iterdir()) == []


async def _replay(post: Post) -> int:
    async def count(kind: str, fields: Any) -> None:
        await count_kept(post.service, kind, fields)

    return await post.service.journal.replay(post.service.seals, count)


async def test_what_an_agent_was_told_is_kept_counts_though_another_answered_meanwhile(tmp_path: Path) -> None:
    post, store = await a_post(tmp_path)
    await post.know()
    token = (await post.ask())["placements"][0]["event_token"]
    store.is_down = True
    assert await take(post.service, replace(answer(token, "accepted", post), api_key="console:anna")) == ["kept"]
    store.is_down = False
    await post.tell(event_token=token, outcome="rejected")

    assert await _replay(post) == 1
    told = [each for each in await post.records() if each["kind"] == "response"]
    assert {(each["outcome"], each.get("api_key")) for each in told} == {
        ("rejected", None),
        ("accepted", "console:anna"),
    }
