"""Many questions at leisure: few under way at once, answers in order."""

from __future__ import annotations

import asyncio

import pytest

from decisioning.store.gently import AT_ONCE, gently


@pytest.mark.anyio
async def test_no_more_are_under_way_than_a_few_and_answers_keep_the_order_of_the_questions() -> None:
    under_way, most = 0, 0

    async def answer(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return number * number

    count = 3 * AT_ONCE + 1
    answers = [each async for each in gently((number, answer(number)) for number in range(count))]

    assert answers == [(number, number * number) for number in range(count)]
    assert most == AT_ONCE
