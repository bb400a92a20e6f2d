"""Gently: many questions of somebody who has time, so that somebody who has none need not wait behind them.

A store answers what it has received in one go: hundreds of questions sent together stop every decision for as long as
all of their answers take. A few are over before anybody notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from itertools import islice
from typing import TypeVar

AT_ONCE = 16  # pages of a log: half a millisecond of the store

Of = TypeVar("Of")
Answer = TypeVar("Answer")


async def gently(questions: Iterable[tuple[Of, Awaitable[Answer]]]) -> AsyncIterator[tuple[Of, Answer]]:
    """Each answer with what it is of, in the order of the questions, which may be made while they are asked."""
    left = iter(questions)
    while some := list(islice(left, AT_ONCE)):
        answers = await asyncio.gather(*(question for _, question in some))
        for (of, _), answer in zip(some, answers, strict=True):
            yield of, answer
