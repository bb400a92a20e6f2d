"""Hostile text: whatever is written, nothing but the errors of rules/errors.py is raised, and nothing hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules import (
    DYN,
    Environment,
    EvaluationError,
    Node,
    RuleError,
    RuleSyntaxError,
    RuleTypeError,
    check,
    compile,
    parse,
    unparse,
)
from rules.check import resolve
from rules.limits import MAX_DEPTH, MAX_NODES, MAX_PATTERN_LENGTH, MAX_TEXT_LENGTH
from tests.rules.expressions import ACTIVATIONS, TREES

ENVIRONMENT = Environment(dict.fromkeys(["customer", "x", "y", "history", "_a1"], DYN))
SCRAPS = st.sampled_from(
    [*"()[]{}.,:?!-+*/%<>=&|'\"`\\\n 019exuUbrR_", "&&", "||", "==", "in", "has(", ".all(x,", "'a'", "1.5", "x", "//"]
)

CPU_S_MAX = 10.0  # each case takes milliseconds, and what it guards against takes for ever


@contextmanager
def soon() -> Iterator[None]:
    """What is inside ends by itself, in bounded processor time: how busy the machine is does not count."""
    started_s = time.process_time()
    yield
    assert time.process_time() - started_s < CPU_S_MAX


def evaluate(text: str, activation: Any) -> Any:
    return compile(check(parse(text), ENVIRONMENT))(activation)


@given(st.text(max_size=40) | st.lists(SCRAPS, max_size=25).map("".join))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        tree = parse(text)
    except RuleSyntaxError as fault:
        assert fault.line >= 1
        assert fault.column >= 1
    else:
        assert parse(unparse(tree)) == tree


@settings(max_examples=300)
@given(TREES)
def test_a_tree_reads_back_from_its_own_text(tree: Node) -> None:
    assert parse(unparse(tree)) == tree


@settings(max_examples=300)
@given(TREES, ACTIVATIONS)
def test_evaluation_raises_nothing_but_evaluation_errors(tree: Node, activation: dict[str, Any]) -> None:
    try:
        program = compile(check(tree, ENVIRONMENT))
    except RuleTypeError:
        program = compile(resolve(tree, ENVIRONMENT)[0])

    try:
        first = program(activation)
    except EvaluationError as error:
        assert str(error)
    else:
        assert repr(program(activation)) == repr(first)


@pytest.mark.parametrize(
    "text",
    [
        "1" + " " * MAX_TEXT_LENGTH,
        "(" * 4_000 + "1" + ")" * 4_000 + "+" * 2_000,
        "-" * (MAX_DEPTH + 1) + "x",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "x" + ".a" * (MAX_DEPTH + 1),
        "+".join("1" for _ in range(MAX_DEPTH + 2)),
        "true ? 1 : " * (MAX_DEPTH + 1) + "2",
        "[" + "1," * MAX_NODES + "1]",
        "'''" * 3_333,
        "9" * 5_000,
        "0x" + "f" * 5_000,
        "'\ud800'",
    ],
    ids=lambda text: text[:12].encode("ascii", "replace").decode(),
)
def test_what_exceeds_a_bound_is_refused_at_once(text: str) -> None:
    with soon(), pytest.raises(RuleSyntaxError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "!" * (MAX_DEPTH - 1) + "x",
        "(" * 2_000 + "1" + ")" * 2_000,
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "x" + ".a" * (MAX_DEPTH - 1),
        "x" + "[0]" * (MAX_DEPTH - 1),
        "+".join("1" for _ in range(MAX_DEPTH)),
        " && ".join("x == 1" for _ in range(MAX_NODES // 3 - 1)),
        "true ? 1 : " * (MAX_DEPTH - 1) + "x",
        "[1]" + ".map(x, [x])" * 40,
        "size(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1),
    ],
    ids=lambda text: text[:12],
)
def test_what_stays_within_the_bounds_goes_all_the_way(text: str) -> None:
    tree = parse(text)

    try:
        compile(resolve(tree, ENVIRONMENT)[0])({"x": True})
    except EvaluationError as error:
        assert str(error)
    assert parse(unparse(tree)) == tree


@pytest.mark.parametrize(
    "text",
    [
        "x.all(a, x.all(b, x.all(c, x.all(d, a + b + c + d >= 0))))",
        "x.map(a, x.map(b, x.map(c, [a, b, c]))).size() > 0",
        "['ab']" + ".map(s, s + s)" * 30,
        "['ab']" + ".map(s, s.replace('a', s))" * 20,
        "['%s%s']" + ".map(s, s.format([s, s]))" * 20,
        "['ab']" + ".map(s, [s, s, s, s].join(s))" * 20,
        "[[1]]" + ".map(l, l + l)" * 30,
        "[[1]]" + ".map(l, [l, l])" * 30 + " == [[2]]",
        "string([[1]]" + ".map(l, [l, l])" * 30 + ")",
        "'%s'.format([[1]" + ".map(l, [l, l])" * 30 + "])",
        "x.filter(a, x.filter(b, a in x && b in x) == x) == x",
        "x.transformMap(i, a, x.transformMap(j, b, x)) == {}",
    ],
)
def test_loops_end_soon_whatever_they_multiply(text: str) -> None:
    with soon(), suppress(EvaluationError):
        compile(resolve(parse(text), ENVIRONMENT)[0])({"x": list(range(2_000))})


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a|a)*b", "(.*)(.*)(.*)(.*)(.*)x", "((a{1,100}){1,100}){1,9}", "a" * (MAX_PATTERN_LENGTH + 1)],
)
def test_no_pattern_makes_matching_slow(pattern: str) -> None:
    with soon(), suppress(EvaluationError):
        evaluate("x.matches(y)", {"x": "a" * 50_000, "y": pattern})


@pytest.mark.parametrize(
    "text",
    [
        "'%.101f'.format([1.0])",
        "'%'.format([])",
        "x.split('')" + ".map(c, x)",
        "[x, x, x, x, x, x, x, x, x, x, x].join('')",
        "x.replace('', x)",
        "x + x + x",
        "int(x)",
        "duration(x)",
        "timestamp(0).getHours('../../etc/passwd')",
        "timestamp(0).getHours('Europe')",
        "timestamp(253402300799).getHours('+01:00')",
        "x.substring(1000000)",
    ],
)
def test_values_that_exceed_a_bound_are_unknown(text: str) -> None:
    with pytest.raises(EvaluationError):
        evaluate(text, {"x": "9" * 40_000})


def test_values_that_nest_too_deep_are_unknown() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]

    for text in ("x == x", "'%s'.format([x])", "x in [x]"):
        with pytest.raises(EvaluationError, match="nest"):
            evaluate(text, {"x": deep})


def test_half_a_surrogate_pair_in_a_profile_is_unknown() -> None:
    for text in ("x.matches('a')", "bytes(x)", "'%x'.format([x])"):
        with pytest.raises(EvaluationError, match="surrogate"):
            evaluate(text, {"x": "\ud800"})


def test_every_error_of_the_package_is_a_rule_error() -> None:
    assert all(issubclass(error, RuleError) for error in (RuleSyntaxError, RuleTypeError, EvaluationError))
