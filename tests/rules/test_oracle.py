"""Our evaluator against Google's own in C++ (cel-expr-python), on generated expressions and customers.

Expressions are typed as they are drawn, since it says little when both refuse a text. Both must find the same value, or
both an error. Not drawn is what docs/rules.md lists as different, and what the C++ package does not have: loops with
two variables, and spans below a microsecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules import (
    BOOL,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Duration,
    Environment,
    RuleError,
    Timestamp,
    UInt,
    check,
    compile,
    list_of,
    map_of,
    parse,
)
from rules.literals import spell
from rules.values import kind_of

REASON = "cel-expr-python, an optional oracle, is not installed: it has no build for this platform"
cel = pytest.importorskip("cel_expr_python.cel", reason=REASON)
ext_math = pytest.importorskip("cel_expr_python.ext.ext_math", reason=REASON)
ext_strings = pytest.importorskip("cel_expr_python.ext.ext_strings", reason=REASON)

DEPTH = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ERROR = ("error", "")
Text = st.SearchStrategy[str]

OURS = Environment(
    {
        "counts": map_of(STRING, INT),
        "amounts": map_of(STRING, DOUBLE),
        "words": map_of(STRING, STRING),
        "flags": map_of(STRING, BOOL),
        "customer": map_of(STRING, DYN),
        "numbers": list_of(INT),
        "u": UINT,
        "now": TIMESTAMP,
        "span": DURATION,
    }
)
GOOGLES = cel.NewEnv(
    variables={
        "counts": cel.Type.Map(cel.Type.STRING, cel.Type.INT),
        "amounts": cel.Type.Map(cel.Type.STRING, cel.Type.DOUBLE),
        "words": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        "flags": cel.Type.Map(cel.Type.STRING, cel.Type.BOOL),
        "customer": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
        "numbers": cel.Type.List(cel.Type.INT),
        "u": cel.Type.UINT,
        "now": cel.Type.TIMESTAMP,
        "span": cel.Type.DURATION,
    },
    extensions=[ext_math.ExtMath(), ext_strings.ExtStrings()],
)

WHOLE = st.integers(-5, 60) | st.sampled_from([2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -(2**63) + 1])
REAL = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.5, -1.5, 18.0, 1e300, -1e300, 9007199254740993.0]) | st.floats(
    -1e6, 1e6, allow_nan=False
)
WORD = st.sampled_from(["", "a", "gold", "Gold", "Réka", "x,y", "12", "-7", "😀b", "true", "ß", "  pad "]) | st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5
)
SPAN_S = st.integers(-(10**7), 10**7)
MOMENT_S = st.integers(-(10**9), 4 * 10**9)
KEYS = ("a", "b")  # one of the two may be absent


def drawn(template: str, *parts: Text) -> Text:
    """The template with the drawn texts in place of its `{}`."""
    return st.tuples(*parts).map(lambda texts: template.format(*texts))


def one_of(templates: Sequence[tuple[str, tuple[Text, ...]]]) -> Text:
    return st.one_of([drawn(template, *parts) for template, parts in templates])


def attributes(variable: str) -> Text:
    return st.sampled_from([f"{variable}.{key}" for key in KEYS])


@cache
def whole(depth: int) -> Text:
    leaf = WHOLE.map(spell) | attributes("counts") | st.just("numbers[1]")
    if depth == 0:
        return leaf
    one, text, real = whole(depth - 1), word(depth - 1), double(depth - 1)
    moment_, span_, listed = moment(depth - 1), span(depth - 1), numbers(depth - 1)
    return leaf | one_of(
        [
            *[(f"({{}} {operator} {{}})", (one, one)) for operator in "+-*/%"],
            ("-({})", (one,)),
            ("({} ? {} : {})", (truth(depth - 1), one, one)),
            ("size({})", (text,)),
            ("{}.size()", (listed,)),
            ("{}[{}]", (listed, st.sampled_from(["0", "2"]))),
            ("int({})", (text | real | moment_ | unsigned(depth - 1),)),
            ("{}.indexOf({})", (text, text)),
            ("{}.{}()", (moment_, st.sampled_from(["getFullYear", "getMonth", "getDayOfYear", "getDayOfWeek"]))),
            ("{}.getDate({})", (moment_, st.sampled_from(['"+02:00"', '"-09:30"', '"UTC"']))),
            ("{}.{}()", (span_, st.sampled_from(["getHours", "getMinutes", "getSeconds"]))),
            ("math.{}({}, {})", (st.sampled_from(["greatest", "least", "bitAnd", "bitOr", "bitXor"]), one, one)),
            ("math.{}({})", (st.sampled_from(["abs", "sign", "bitNot"]), one)),
        ]
    )


@cache
def unsigned(depth: int) -> Text:
    leaf = st.sampled_from(["u", "0u", "3u", "18446744073709551615u"])
    if depth == 0:
        return leaf
    one = unsigned(depth - 1)
    operations = [(f"({{}} {operator} {{}})", (one, one)) for operator in "+-*/%"]
    return leaf | one_of([*operations, ("uint({})", (whole(depth - 1) | double(depth - 1) | word(depth - 1),))])


@cache
def double(depth: int) -> Text:
    leaf = REAL.map(spell) | attributes("amounts")
    if depth == 0:
        return leaf
    one = double(depth - 1)
    return leaf | one_of(
        [
            *[(f"({{}} {operator} {{}})", (one, one)) for operator in "+-*/"],
            ("double({})", (whole(depth - 1) | unsigned(depth - 1),)),
            ("math.{}({})", (st.sampled_from(["round", "ceil", "floor", "trunc", "abs", "sign", "sqrt"]), one)),
            ("math.{}({}, {})", (st.sampled_from(["greatest", "least"]), one, one)),
        ]
    )


@cache
def word(depth: int) -> Text:
    leaf = WORD.map(spell) | attributes("words")
    if depth == 0:
        return leaf
    one, position = word(depth - 1), st.integers(-1, 4).map(str)
    return leaf | one_of(
        [
            ("({} + {})", (one, one)),
            ("({} ? {} : {})", (truth(depth - 1), one, one)),
            ("{}.{}()", (one, st.sampled_from(["lowerAscii", "upperAscii", "trim", "reverse"]))),
            ("{}.replace({}, {})", (one, one, one)),
            ("{}.substring({})", (one, position)),
            ('({} + ".....").substring({}, {})', (one, position, position)),  # never the end: the oracle errs there
            ("{}.charAt({})", (one, position)),
            ("string({})", (whole(depth - 1) | truth(depth - 1) | moment(depth - 1) | span(depth - 1),)),
            ("{}.split({}).join({})", (one, one, one)),
            ('"%s-%d".format([{}, {}])', (one, whole(depth - 1))),
            ("strings.quote({})", (one,)),
        ]
    )


@cache
def truth(depth: int) -> Text:
    leaf = st.sampled_from(["true", "false"]) | attributes("flags")
    if depth == 0:
        return leaf
    one, text, listed = truth(depth - 1), word(depth - 1), numbers(depth - 1)
    order = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    kinds = [whole, unsigned, double, word, moment, span, truth]
    anything = customer(depth - 1)
    return leaf | one_of(
        [
            *[("({} {} {})", (kind(depth - 1), order, kind(depth - 1))) for kind in kinds],
            ("({} {} {})", (anything, order, anything)),
            ("({} {} {})", (listed, st.sampled_from(["==", "!="]), listed)),
            ("({} && {})", (one, one)),
            ("({} || {})", (one, one)),
            ("!({})", (one,)),
            ("({} ? {} : {})", (one, one, one)),
            ("({} in {})", (whole(depth - 1), listed)),
            ("({} in words)", (text,)),
            ("has(customer.{})", (st.sampled_from(KEYS),)),
            ("{}.{}({})", (text, st.sampled_from(["startsWith", "endsWith", "contains"]), text)),
            ("{}.matches({})", (text, st.sampled_from(['"^[a-g]+$"', '"(a|b)*c?"', '"é"', '"^$"', r'"\\d+"']))),
            ("{}.{}(n, n {} {})", (listed, st.sampled_from(["all", "exists", "exists_one"]), order, whole(depth - 1))),
            ("{}.{}(n, 10 / n > 3)", (listed, st.sampled_from(["all", "exists", "exists_one"]))),
            ("words.{}(key, words[key] == {})", (st.sampled_from(["all", "exists", "exists_one"]), text)),
            ("bool({})", (text,)),
        ]
    )


@cache
def customer(depth: int) -> Text:
    """Values whose kind only evaluation knows, and what they are compared with."""
    known = [kind(depth).map("dyn({})".format) for kind in (whole, unsigned, double, word, truth)]
    return attributes("customer") | st.one_of(known)


@cache
def numbers(depth: int) -> Text:
    leaf = st.sampled_from(["numbers", "[1]", "[3, 1, 3]", "[0, 5]"])
    if depth == 0:
        return leaf
    one = numbers(depth - 1)
    return leaf | one_of(
        [
            ("[{}, {}]", (whole(depth - 1), whole(depth - 1))),
            ("({} + {})", (one, one)),
            ("{}.map(n, n * {})", (one, whole(depth - 1))),
            ("{}.map(n, n > 1, n + 1)", (one,)),
            ("{}.filter(n, n != {})", (one, whole(depth - 1))),
        ]
    )


@cache
def moment(depth: int) -> Text:
    leaf = st.just("now") | MOMENT_S.map(lambda seconds: f"timestamp({seconds})")
    if depth == 0:
        return leaf
    return leaf | drawn("({} {} {})", moment(depth - 1), st.sampled_from(["+", "-"]), span(depth - 1))


@cache
def span(depth: int) -> Text:
    leaf = st.just("span") | SPAN_S.map(lambda seconds: f'duration("{seconds}s")') | st.just('duration("1h2m3s")')
    if depth == 0:
        return leaf
    one, operator = span(depth - 1), st.sampled_from(["+", "-"])
    return leaf | drawn("({} {} {})", one, operator, one) | drawn("({} - {})", moment(depth - 1), moment(depth - 1))


def some_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(KEYS), values)


CUSTOMERS = st.fixed_dictionaries(
    {
        "counts": some_of(WHOLE),
        "amounts": some_of(REAL),
        "words": some_of(WORD),
        "flags": some_of(st.booleans()),
        "customer": some_of(WHOLE | REAL | WORD | st.booleans() | st.none() | st.lists(WHOLE, max_size=2)),
        "numbers": st.lists(st.integers(-2, 5), max_size=3),
        "u": st.sampled_from([0, 3, 2**64 - 1]),
        "now": st.integers(0, 4 * 10**9),
        "span": st.integers(-(10**6), 10**6),
    }
)
EXPRESSIONS = st.one_of([kind(DEPTH) for kind in (truth, whole, unsigned, double, word, numbers, moment, span)])


@settings(max_examples=1000, deadline=None)
@given(EXPRESSIONS, CUSTOMERS)
def test_google_s_evaluator_finds_the_same(text: str, customer: dict[str, Any]) -> None:
    assert our_answer(text, customer) == google_s_answer(text, customer)


def our_answer(text: str, customer: dict[str, Any]) -> Any:
    activation = {
        **customer,
        "u": UInt(customer["u"]),
        "now": Timestamp(customer["now"] * 10**9),
        "span": Duration(customer["span"] * 10**9),
    }
    try:
        return our_form(compile(check(parse(text), OURS))(activation))
    except RuleError:
        return ERROR


def our_form(value: Any) -> Any:
    kind = kind_of(value)
    if kind == "list":
        return kind, [our_form(element) for element in value]
    if kind in ("timestamp", "duration"):
        return kind, value.nanos // 1000
    return kind, repr(value) if kind == "double" else value


def google_s_answer(text: str, customer: dict[str, Any]) -> Any:
    data = {
        **customer,
        "now": EPOCH + timedelta(seconds=customer["now"]),
        "span": timedelta(seconds=customer["span"]),
    }
    try:
        return google_s_form(GOOGLES.compile(text).eval(data=data))
    except RuntimeError:  # refused before evaluation
        return ERROR


def google_s_form(answer: Any) -> Any:
    kind, value = answer.type().name().partition("<")[0].lower(), answer.value()
    match kind:
        case "error":
            return ERROR
        case "list":
            return kind, [google_s_form(element) for element in value]
        case "timestamp":
            return kind, (value - EPOCH) // timedelta(microseconds=1)
        case "duration":
            return kind, value // timedelta(microseconds=1)
        case "double":
            return kind, repr(value)
    return kind, value
