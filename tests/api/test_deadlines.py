"""Deadlines: late work is given up, whatever else happens to it; everything else is left alone."""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext

import pytest

from api.deadlines import Deadlines

SHORT_S, LONG_S = 0.02, 30.0


async def _slept(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def test_work_in_time_gives_its_result() -> None:
    assert await Deadlines().keep(LONG_S, _slept(0)) == 0


async def test_late_work_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await Deadlines().keep(SHORT_S, _slept(LONG_S))

    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_an_error_passes() -> None:
    async def broken() -> None:
        raise ValueError("as it should")

    with pytest.raises(ValueError, match="as it should"):
        await Deadlines().keep(LONG_S, broken())


async def test_who_is_cancelled_from_outside_stays_cancelled() -> None:
    task = asyncio.create_task(Deadlines().keep(LONG_S, _slept(LONG_S)))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_outside_and_the_deadline_at_once_both_hold() -> None:
    async def both() -> None:
        async with asyncio.timeout(SHORT_S):
            await Deadlines().keep(SHORT_S, _slept(LONG_S))

    with pytest.raises(TimeoutError):
        await both()


async def test_a_timeout_inside_is_the_works_own() -> None:
    async def patient() -> str:
        try:
            async with asyncio.timeout(SHORT_S / 2):
                await asyncio.sleep(LONG_S)
        except TimeoutError:
            return "went on"
        return ""

    assert await Deadlines().keep(LONG_S, patient()) == "went on"


async def test_of_many_at_once_exactly_the_late_ones_end() -> None:
    deadlines, seed = Deadlines(), random.Random(7)
    lengths = [seed.choice((0.0, 0.001, LONG_S)) for _ in range(300)]

    async def outcome(index: int) -> float | str:
        await asyncio.sleep(index % 7 / 1000)
        try:
            return await deadlines.keep(0.3, _slept(lengths[index]))
        except TimeoutError:
            return "late"

    found = await asyncio.gather(*map(outcome, range(len(lengths))))

    assert found == ["late" if seconds == LONG_S else seconds for seconds in lengths]
    assert await deadlines.keep(LONG_S, _slept(0)) == 0, "and it goes on"


@pytest.mark.parametrize("made_of_it", [None, ValueError("as it should")])
async def test_late_work_that_makes_something_else_of_its_end_leaves_nothing_behind(
    made_of_it: ValueError | None,
) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            if made_of_it is not None:
                raise made_of_it from None
        return "went on"

    with nullcontext() if made_of_it is None else pytest.raises(ValueError, match="as it should"):
        assert await Deadlines().keep(SHORT_S, stubborn()) == "went on"

    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SHORT_S):
            await asyncio.sleep(LONG_S)


async def test_who_comes_after_a_pause_is_kept_as_well() -> None:
    deadlines = Deadlines()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await deadlines.keep(SHORT_S, _slept(LONG_S))
        await asyncio.sleep(2 * SHORT_S)
