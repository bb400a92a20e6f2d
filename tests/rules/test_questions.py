"""Predicates that an index looks up, against the same predicates evaluated one by one."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from functools import cache
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Duration,
    Environment,
    EvaluationError,
    PredicateIndex,
    Program,
    Signature,
    Timestamp,
    Together,
    check,
    compile,
    list_of,
    object_of,
    parse,
)
from rules.checked import CheckedNode
from rules.compile import _Compiler
from rules.questions import Built
from tests.rules.test_index import every, twin

ATTRIBUTES = {"age": INT, "income": DOUBLE, "tier": STRING, "flag": BOOL, "seen": TIMESTAMP, "owns": list_of(STRING)}
ENVIRONMENT = Environment(
    {
        "customer": object_of(ATTRIBUTES, name="customer"),
        "now": TIMESTAMP,
        "history": object_of({}, name="history"),
    },
    {
        ("history", "count"): Signature((STRING, STRING, DURATION), INT, Together("counts", argument=1, unlisted=0)),
        ("history", "days_since"): Signature((STRING, STRING), DOUBLE),
    },
)
COMPARED = {
    "customer.age": ["-1", "3", "3.0", "3.5", "4", "9007199254740993", "9007199254740993.0", "1.0 / 0.0"],
    "customer.income": ["-0.0", "0", "0.0", "2", "2.5", "1e300", "1.0 / 0.0", "0.0 / 0.0", "9007199254740993"],
    "customer.tier": ['"gold"', '"silver"', '""'],
    "customer.flag": ["true", "false"],
    "customer.seen": ['timestamp("2026-01-01T00:00:00Z")', 'timestamp("2026-01-03T00:00:00Z")'],
    "now - customer.seen": ['duration("0s")', 'duration("48h")'],
    "customer.age + 1": ["4", "4.5"],
    "size(customer.owns)": ["0", "2"],
    'history.days_since("clicked", "customer")': ["1.0", "3"],
}
SEARCHED = {"customer.age": ["3, 4", "3u, 9"], "customer.income": ["2.0, 3.0"], "customer.tier": ['"gold", "", "x"']}
WINDOWS = ("24h", "48h")
KEYS = ("a", "b", "b/c")


@cache
def program(text: str) -> Program:
    return compile(check(parse(text), ENVIRONMENT, BOOL))


def _texts() -> Iterator[str]:
    for topic, constants in COMPARED.items():
        for constant in constants:
            for symbol in ("<", "<=", ">", ">=", "==", "!="):
                yield f"{topic} {symbol} {constant}"
                yield f"{constant} {symbol} {topic}"
    yield from (f"{topic} in [{constants}]" for topic, lists in SEARCHED.items() for constants in lists)
    yield from (f'"{element}" in customer.owns' for element in ("fund", "loan", "card"))
    yield "customer.flag"
    for outcome in ("clicked", "forgotten"):
        for key in KEYS:
            for window in WINDOWS:
                asked = f'history.count("{outcome}", "action:{key}", duration("{window}"))'
                yield from (f"{asked} {test}" for test in ("== 0", "< 2", ">= 1", "> 1", "in [0, 2]"))


def _written(text: str, negated: bool, guarded: bool, turned: bool) -> str:
    text = f"!({text})" if negated else text
    found = next((name for name in ATTRIBUTES if guarded and f"customer.{name}" in text), None)
    if found is None:
        return text
    return f"{text} || !has(customer.{found})" if turned else f"!has(customer.{found}) || {text}"


ALONE = st.builds(_written, st.sampled_from(list(_texts())), st.booleans(), st.booleans(), st.booleans())
TEXTS = st.one_of(
    ALONE,
    st.builds("({}) || ({})".format, ALONE, ALONE),
    st.builds("({}) && ({}) || ({}) || !({})".format, ALONE, ALONE, ALONE, ALONE),
)
ROWS = st.lists(st.lists(TEXTS.map(program), max_size=4), min_size=1, max_size=12)
DAYS = [Timestamp.parse(f"2026-01-0{day}T00:00:00Z") for day in range(1, 6)]
VALUES: dict[str, list[Any]] = {
    "age": [-1, 2, 3, 4, 9, 2**53 + 1, -(2**63), 3.0, True],
    "income": [0.0, -0.0, 1.9, 2.0, 2.5, 3, 1e300, inf, -inf, nan, 2.0**53, 2**53 + 1],
    "tier": ["gold", "silver", "", "x", "zz", 7],
    "flag": [True, False, 1],
    "seen": [*DAYS, 0],
    "owns": [[], ["fund"], ["car", "loan", "fund"], ["card", 1, None], [["fund"]], "fund"],
}


class Worked(Mapping[str, Any]):
    """A host's own mapping, which is asked as a dict would be."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known

    def __getitem__(self, name: str) -> Any:
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)


class History:
    """Answers one scope at a time, or all that it met at once; -1 stands for what it does not know."""

    def __init__(self, met: dict[tuple[str, str], int]) -> None:
        self.met = met

    def count(self, outcome: str, scope: str, window: Duration) -> int | None:
        return self.counts(outcome, scope.partition(":")[0], window).get(scope.partition(":")[2], 0)

    def counts(self, outcome: str, kind: str, window: Duration) -> dict[str, int | None]:
        if outcome == "forgotten" and window > Duration.parse("24h"):
            raise EvaluationError("not kept")
        return {key: None if count < 0 else count for (what, key), count in self.met.items() if what == outcome}

    def days_since(self, outcome: str, scope: str) -> float:
        if (outcome, "a") in self.met:
            return self.met[outcome, "a"] + 0.5
        raise EvaluationError("none")


CUSTOMERS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()})
HISTORIES = st.dictionaries(
    st.tuples(st.sampled_from(["clicked", "forgotten"]), st.sampled_from([*KEYS, "other"])), st.integers(-1, 3)
).map(History)
ACTIVATIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"history": HISTORIES},
    optional={"customer": CUSTOMERS | CUSTOMERS.map(Worked) | st.just(3), "now": st.sampled_from(DAYS)},
)


@settings(max_examples=250)
@given(ROWS, st.lists(ACTIVATIONS, min_size=1, max_size=4), st.integers(0))
def test_what_is_looked_up_agrees_with_what_is_evaluated(
    rows: list[list[Program]], activations: list[dict[str, Any]], some: int
) -> None:
    index = PredicateIndex(rows)

    for activation in activations:
        for among in (every(rows), every(rows) & some, *(1 << row for row in range(len(rows)))):
            assert index.evaluate(activation, among) == twin(rows, activation, among)


def test_every_value_finds_its_place_beside_every_constant() -> None:
    for text in _texts():
        rows = [
            [program(_written(text, negated, guarded, False))] for negated in (False, True) for guarded in (False, True)
        ]
        index = PredicateIndex(rows)
        asked = next((name for name in ATTRIBUTES if f"customer.{name}" in text), "age")
        for value in VALUES[asked]:
            activation = {"customer": {asked: value}, "now": DAYS[2], "history": History({("clicked", "a"): 2})}
            assert index.evaluate(activation, every(rows)) == twin(rows, activation, every(rows)), (text, value)


def test_what_a_row_asks_for_twice_has_to_hold_twice() -> None:
    asked = [text for text in _texts() if "customer.age" in text and "+" not in text] + [
        f"customer.age in [{constants}]" for constants in ("", "3", "-1, 3, 9", "2, 3, 4", "4, 9")
    ]
    texts = asked + [f"!({text})" for text in asked]
    rows = [[program(text) for text in some] for some in (texts[n::7][:3] for n in range(7 * 3))]
    rows += [[program(one), program(other)] for one in texts[-10:] for other in texts[-10:]]

    index = PredicateIndex(rows)

    for value in VALUES["age"]:
        activation = {"customer": {"age": value}}
        assert index.evaluate(activation, every(rows)) == twin(rows, activation, every(rows)), value


@pytest.mark.parametrize("text", ["customer.age == {0}", "customer.age >= {0}", "customer.age != {0}"])
def test_four_thousand_limits_are_answered_as_one_by_one(text: str) -> None:
    rows = [[program(text.format(limit))] for limit in range(4_000)]

    index = PredicateIndex(rows)

    activation = {"customer": {"age": 2_000}}
    assert index.evaluate(activation, every(rows)) == twin(rows, activation, every(rows))


def test_what_is_known_of_a_key_costs_one_mask() -> None:
    count = 2_000
    text = 'history.count("clicked", "action:a/{}", duration("24h")) == 0'
    rows = [[program(text.format(n))] for n in range(count)]

    tracemalloc.start()
    index = PredicateIndex(rows)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert index.evaluate({"history": History({})}, every(rows)) == (0, 0)
    assert held / count < 1_000  # bytes: the mask of one row of 2,000 and as much again; three masks took 1,500


@pytest.mark.parametrize("nested", ["{0} || ({1})", "{0} || customer.age > 3 && ({1})"])
def test_an_alternative_within_an_alternative_is_compiled_once(nested: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[CheckedNode] = []
    build = _Compiler.build

    def counted(compiler: _Compiler, checked: CheckedNode) -> Built:
        built.append(checked)
        return build(compiler, checked)

    monkeypatch.setattr(_Compiler, "build", counted)
    text = asked = 'history.count("clicked", "action:a", duration("24h")) == 0'
    for _ in range(40):
        text = nested.format(asked, text)

    deep = program(text)

    assert deep.alternatives
    assert len(built) <= 2 * len({id(each) for each in built})  # the whole, and the operands once more
    activation = {"history": History({("clicked", "a"): 1}), "customer": {"age": 4}}
    assert PredicateIndex([[deep], [deep]]).evaluate(activation, 0b11) == twin([[deep], [deep]], activation, 0b11)


class Asked(History):
    """Answers for all keys at once, and for none alone."""

    def count(self, outcome: str, scope: str, window: Duration) -> int | None:
        raise AssertionError(f"{scope} was asked for alone")


def test_a_thousand_actions_ask_history_once() -> None:
    rows = [[program(f'history.count("clicked", "action:a/{n}", duration("24h")) == 0')] for n in range(1000)]

    no, unknown = PredicateIndex(rows).evaluate(
        {"history": Asked({("clicked", "a/7"): 1, ("clicked", "a/8"): -1})}, every(rows)
    )

    assert (no, unknown) == (1 << 7, 1 << 8)


def test_a_second_question_about_a_key_is_asked_where_the_first_leaves_it_open() -> None:
    text = 'history.count("clicked", "action:a/{0}", duration("24h")) == 0 || "card{0}" in customer.owns'
    rows = [[program(text.format(n))] for n in range(1000)]
    asked = Asked({("clicked", f"a/{n}"): count for n, count in enumerate([1, 1, -1, -1, 0])})

    no, unknown = PredicateIndex(rows).evaluate(
        {"history": asked, "customer": {"owns": ["card1", "card3"]}}, every(rows)
    )

    assert (no, unknown) == (0b0001, 0b0100)


def test_a_row_that_wants_two_keys_needs_both() -> None:
    rows = [
        [program('"fund" in customer.owns'), program('"loan" in customer.owns')],
        [program('"loan" in customer.owns')],
    ]
    index = PredicateIndex(rows)

    assert index.evaluate({"customer": {"owns": ["fund"]}}, 0b11) == (0b11, 0)
    assert index.evaluate({"customer": {"owns": ["loan"]}}, 0b11) == (0b01, 0)
    assert index.evaluate({"customer": {"owns": ["loan", "fund"]}}, 0b11) == (0, 0)


@pytest.mark.parametrize("text", ["customer.age > 3", "customer.age + size(customer.owns) > 3"])
def test_a_guard_makes_up_for_no_other_attribute(text: str) -> None:
    rows = [[program(f"!has(customer.owns) || {text}")]]
    index = PredicateIndex(rows)

    assert index.evaluate({"customer": {"owns": []}}, every(rows)) == (0, 1)
    assert index.evaluate({"customer": {}}, every(rows)) == (0, 0)


class Reading(dict[str, Any]):
    """Attributes that count how often they are read."""

    count = 0

    def __getitem__(self, name: str) -> Any:
        self.count += 1
        return super().__getitem__(name)


def test_an_attribute_is_read_once_however_much_is_asked_about_it() -> None:
    customer = Reading(age=30)
    texts = [f"customer.age {symbol} {limit}" for symbol in ("<", ">=", "!=") for limit in range(40)]
    rows = [[program(text)] for text in (*texts, "customer.age in [1, 2]", "!has(customer.age) || customer.age > 3")]

    no, unknown = PredicateIndex(rows).evaluate({"customer": customer}, every(rows))

    assert (customer.count, no.bit_count(), unknown) == (1, 31 + 9 + 1 + 1, 0)
