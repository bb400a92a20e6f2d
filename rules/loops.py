"""Closures of the macros that walk over lists and maps.

`all` and `exists` are `&&` and `||` over the elements: an element that decides makes up for one that fails. The other
macros fail with their first failing element. Every element is charged to the evaluation's account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rules.errors import EvaluationError
from rules.tree import Loop, Node
from rules.values import Value, as_key, elements, is_key, items
from rules.work import ACCOUNT

Frame = Any  # the activation, or a dict that holds it, the loop variables and the account
Evaluate = Callable[[Frame], Value]
Walk = Callable[
    [Frame], Iterator[Value]
]  # binds the loop variables to each element in turn and yields the first of them


def compile_loop(
    node: Node, slots: tuple[str, ...], runs: tuple[Evaluate, ...], conditions: tuple[Evaluate, ...], step_cost: int
) -> Evaluate:
    """The closure of a loop. runs and conditions hold its range and arguments, as values and as conditions."""
    assert isinstance(node, Loop)
    walk = _walk_pairs(runs[0], slots, step_cost) if len(slots) == 2 else _walk(runs[0], slots[0], step_cost)
    if node.macro in _QUESTIONS:
        return _QUESTIONS[node.macro](walk, conditions[1])
    keep = conditions[1] if len(runs) == 3 else None
    return _MAKERS[node.macro](walk if keep is None else _kept(walk, keep), runs[-1])


def _walk(range_: Evaluate, slot: str, step_cost: int) -> Walk:
    def walk(frame: Frame) -> Iterator[Value]:
        account = frame[ACCOUNT]
        for element in elements(range_(frame)):
            account.charge(step_cost)
            frame[slot] = element
            yield element

    return walk


def _walk_pairs(range_: Evaluate, slots: tuple[str, ...], step_cost: int) -> Walk:
    first, second = slots

    def walk(frame: Frame) -> Iterator[Value]:
        account = frame[ACCOUNT]
        for key, element in items(range_(frame)):
            account.charge(step_cost)
            frame[first], frame[second] = key, element
            yield key

    return walk


def _kept(walk: Walk, keep: Evaluate) -> Walk:
    return lambda frame: (element for element in walk(frame) if keep(frame))


def _all(walk: Walk, condition: Evaluate) -> Evaluate:
    return _deciding(walk, condition, decisive=False)


def _exists(walk: Walk, condition: Evaluate) -> Evaluate:
    return _deciding(walk, condition, decisive=True)


def _deciding(walk: Walk, condition: Evaluate, *, decisive: bool) -> Evaluate:
    def ask(frame: Frame) -> Value:
        failure = None
        for _ in walk(frame):
            try:
                if condition(frame) is decisive:
                    return decisive
            except EvaluationError as error:
                failure = error
        if failure is not None:
            raise failure
        return not decisive

    return ask


def _exists_one(walk: Walk, condition: Evaluate) -> Evaluate:
    return lambda frame: sum(condition(frame) for _ in walk(frame)) == 1


def _filter(walk: Walk, condition: Evaluate) -> Evaluate:
    return lambda frame: [element for element in walk(frame) if condition(frame)]


def _list(walk: Walk, body: Evaluate) -> Evaluate:
    return lambda frame: [body(frame) for _ in walk(frame)]


def _map(walk: Walk, body: Evaluate) -> Evaluate:
    return lambda frame: {as_key(key): body(frame) for key in walk(frame)}


def _map_of_entries(walk: Walk, body: Evaluate) -> Evaluate:
    def make(frame: Frame) -> Value:
        made: dict[Value, Value] = {}
        for _ in walk(frame):
            for key, value in items(body(frame)):
                put(made, key, value)
        return made

    return make


def put(made: dict[Value, Value], key: Value, value: Value) -> None:
    """Add an entry to a map that is being made. Raises EvaluationError for a repeated key or an unfit one."""
    if not is_key(key) or isinstance(key, float):
        raise EvaluationError("a map's key is text, a whole number or a bool")
    if as_key(key) in made:
        raise EvaluationError("a map repeats a key")
    made[as_key(key)] = value


_QUESTIONS: Mapping[str, Callable[[Walk, Evaluate], Evaluate]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
}
_MAKERS: Mapping[str, Callable[[Walk, Evaluate], Evaluate]] = {
    "map": _list,
    "transformList": _list,
    "transformMap": _map,
    "transformMapEntry": _map_of_entries,
}
