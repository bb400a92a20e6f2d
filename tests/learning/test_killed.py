"""A learner killed while answers arrive, on a real server, folds each step once and in one order."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys

from decisioning.learning.chain import Chain, States
from decisioning.learning.model_state import latest_state
from decisioning.store.redis import RedisStore
from tests.learning.classroom import Classroom

PATIENCE_S = 30  # far beyond what a learner takes for what is left: only a loss gets there


async def test_a_learner_killed_while_answers_arrive_folds_each_step_once(store: RedisStore, store_url: str) -> None:
    seed = random.randrange(2**32)
    moments, room, enough = random.Random(seed), Classroom(store), asyncio.Event()
    arriving = asyncio.create_task(arrive(room, enough))
    for _ in range(3):
        before = await number_of(room)
        process = start_learner(store_url)
        while await number_of(room) == before:
            await asyncio.sleep(0.005)
        await asyncio.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.wait()
    enough.set()
    count = await arriving

    process = start_learner(store_url)
    async with asyncio.timeout(PATIENCE_S):
        while len(steps := await room.steps()) < count + len(range(0, count, 3)):
            await asyncio.sleep(0.05)
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)  # the killed ones may have left nothing to wait for
    process.terminate()

    assert await asyncio.to_thread(process.wait) == 0
    assert len(set(steps)) == len(steps) == count + len(range(0, count, 3)), f"seed {seed}"
    published = await latest_state(store, room.current_model)
    assert published is not None and sum(published.impressions.values()) == count, f"seed {seed}"
    chain = await Chain.resume(store, room.current_model, start="0-0")
    assert chain.standing.number == published.number, f"seed {seed}"
    for number in range(1, published.number, 7):
        rebuilt = await States(store, room.current_model).state(number)
        assert rebuilt.number == number, f"seed {seed}"


def start_learner(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.learning.learner_process", url], stdout=subprocess.PIPE)


async def number_of(room: Classroom) -> int:
    newest = await latest_state(room.store, room.current_model)
    return newest.number if newest else 0


async def arrive(room: Classroom, enough: asyncio.Event) -> int:
    """Customers who see an offer, each third of whom accepts it; how many."""
    count = 0
    while not enough.is_set():
        customer_key = f"C-{count}"
        decision = await room.decide(customer_key)
        await room.tell(decision, "impression", customer_key=customer_key)
        if count % 3 == 0:
            await room.tell(decision, "accepted", customer_key=customer_key)
        count += 1
        await asyncio.sleep(0.02)
    return count
