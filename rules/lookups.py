"""Lookups: what is asked about one topic, worked out beforehand for every value it can have.

Of a value only its place among the constants matters. Below, at and above n of them there are 2n + 1 places, and for
each the rows that it leaves are kept as one mask, so many questions cost two bisections and one operation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import accumulate
from operator import or_

from rules.questions import Question
from rules.values import Value

Asked = Sequence[tuple[Question, int]]  # questions about one topic, each with the rows that have it
Constants = Sequence[Value]  # in order


class Limits:
    """Questions about a value."""

    __slots__ = ("constants", "kept_at")

    def __init__(self, asked: Asked, every_row: int) -> None:
        self.constants, no_at, _ = _answered_no(asked)
        self.kept_at = [every_row ^ no for no in no_at]

    def left(self, value: Value, left: int, unknown: int) -> tuple[int, int]:
        """Of the rows left those that are not answered no, and the unknown ones."""
        return left & self.kept_at[_place(self.constants, value)], unknown


class Listed:
    """Questions about keys of a mapping. Only keys that it lists are looked at, however many are asked about.

    A key keeps the rows that are answered no, not those left: most are asked about by one row of thousands.
    """

    __slots__ = ("_by_key", "_kept")

    def __init__(self, asked: Asked, every_row: int) -> None:
        by_key: dict[str | None, list[tuple[Question, int]]] = {}
        for question, rows in asked:
            by_key.setdefault(question.key, []).append((question, rows))
        self._kept = every_row  # while nothing is listed
        self._by_key: dict[str | None, tuple[Constants, list[int], int, int]] = {}
        for key, about in by_key.items():
            constants, no_at, rows = _answered_no(about)
            wanting = no_at[_place(constants, about[0][0].topic.unlisted)]  # the rows that want it to be listed
            self._by_key[key] = constants, no_at, rows, wanting
            self._kept &= ~wanting

    def left(self, answers: Mapping[str, Value], left: int, unknown: int) -> tuple[int, int]:
        """Of the rows left those that are not answered no, and the unknown ones."""
        kept, no = self._kept, 0
        for key, answer in answers.items():
            about = self._by_key.get(key)
            if about is None:
                continue
            constants, no_at, rows, wanting = about
            kept |= wanting
            if answer is None:
                unknown |= rows
            else:
                no |= no_at[_place(constants, answer)]
        return left & kept & ~no, unknown


def _place(constants: Constants, value: Value) -> int:
    return bisect_left(constants, value) + bisect_right(constants, value) if value == value else -1


def _answered_no(asked: Asked) -> tuple[Constants, list[int], int]:
    """All constants, for each place beside them the rows that a value there is answered no, and all rows. NaN has the
    last place.

    A question is noted where its answer changes, and one walk over the places adds the notes up: asked at every place,
    some thousand actions with a limit of their own would take seconds.
    """
    constants = sorted({constant for question, _ in asked for constant in question.constants})
    place_of = {constant: 2 * position + 1 for position, constant in enumerate(constants)}
    # By place: rows answered no at it, from it on, up to it; rows that ask for one of a few values and have it here.
    here, from_here, up_to_here, member_here = ([0] * (2 * len(constants) + 1) for _ in range(4))
    members = unordered = 0  # all rows that ask for one of a few values; rows that NaN is answered no
    for question, rows in asked:
        places = [place_of[each] for each in question.constants]
        if not question.negated:
            unordered |= rows
        if question.operator != "in":
            [place] = places
            change = place + (question.operator in ("<=", ">"))
            if (question.operator in ("<", "<=")) is question.negated:
                up_to_here[change - 1] |= rows
            else:
                from_here[change] |= rows
        elif question.negated:
            for place in places:
                here[place] |= rows
        else:
            again = rows & members  # what they ask for has to be in both lists
            if again:
                member_here = [found if at in places else found & ~again for at, found in enumerate(member_here)]
            for place in places:
                member_here[place] |= rows ^ again
            members |= rows
    begun, not_ended = accumulate(from_here, or_), list(accumulate(reversed(up_to_here), or_))[::-1]
    no_at = [
        (members ^ found) | above | below | alone
        for found, above, below, alone in zip(member_here, begun, not_ended, here, strict=True)
    ]
    every = reduce(or_, (rows for _, rows in asked))
    shared = {every: every}  # the masks of a key are mostly of one row, as long as all the rest about it, and equal
    return constants, [shared.setdefault(no, no) for no in (*no_at, unordered)], every
