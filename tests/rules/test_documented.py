"""docs/rules.md against the language: each example gives what its comment says, each name of the language is taught."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rules import (
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    Duration,
    Environment,
    EvaluationError,
    RuleFault,
    Signature,
    Timestamp,
    Type,
    check,
    compile,
    object_of,
    parse,
)
from rules import limits as bounds
from rules.cases import read_type, to_typed
from rules.functions import FUNCTIONS, METHODS
from rules.macros import MACROS

PAGE = (Path(__file__).parents[2] / "docs/rules.md").read_text("utf-8")
ROW = re.compile(r"^\| `([a-z_.0-9]+)` \| ([a-z()]+) \| (?:`(.*)`|missing) \|$", re.MULTILINE)
EXAMPLES = [line for block in re.findall(r"```cel\n(.*?)```", PAGE, re.DOTALL) for line in block.strip().split("\n")]
NAMES = sorted({*FUNCTIONS, *METHODS, *MACROS})
NOTHING = Environment({})

pytestmark = pytest.mark.docs


def value_of(text: str) -> Any:
    return compile(check(parse(text), NOTHING))({})


class History:
    """One rejection of the action at hand, three days ago in this channel."""

    rejected = Timestamp.parse("2025-03-28T12:00:00Z")
    now = Timestamp.parse("2025-03-31T12:00:00Z")

    def count(self, outcome: str, scope: str, within: Duration) -> int:
        return int(outcome == "rejected" and self.now.nanos - self.rejected.nanos <= within.nanos)

    def days_since(self, outcome: str, scope: str) -> float | None:
        return 3.0 if outcome == "rejected" else None

    def last(self, outcome: str, scope: str) -> Timestamp | None:
        return self.rejected if outcome == "rejected" else None


def declared() -> tuple[Environment, dict[str, Any]]:
    """The environment and the customer of the page's first table."""
    types: dict[str, dict[str, Type]] = {}
    activation: dict[str, Any] = {"history": History()}
    for path, type_, value in ROW.findall(PAGE):
        root, _, name = path.rpartition(".")
        types.setdefault(root, {})[name] = read_type(type_)
        if value:
            (activation.setdefault(root, {}) if root else activation)[name] = value_of(value)
    variables = types.pop("") | {root: object_of(attributes, name=root) for root, attributes in types.items()}
    methods = {
        ("history", "count"): Signature((STRING, STRING, DURATION), INT),
        ("history", "days_since"): Signature((STRING, STRING), DOUBLE),
        ("history", "last"): Signature((STRING, STRING), TIMESTAMP),
    }
    return Environment({**variables, "history": object_of({}, name="history")}, methods), activation


ENVIRONMENT, ACTIVATION = declared()


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_gives_what_its_comment_says(example: str) -> None:
    expression, said = (part.strip() for part in re.split(r"\s{2,}// ", example))

    try:
        program = compile(check(parse(expression), ENVIRONMENT))
    except RuleFault as fault:
        assert said == f"refused: {fault.message}"
        return
    try:
        value = program(ACTIVATION)
    except EvaluationError:
        assert said == "unknown"
        return
    assert to_typed(value) == to_typed(value_of(said))


@pytest.mark.parametrize("name", NAMES)
def test_the_page_teaches_every_function(name: str) -> None:
    assert f"{name}(" in PAGE


def test_the_page_states_the_bounds_as_they_are() -> None:
    stated = re.search(r"\*\*Bounds\*\*.*?\n\n", PAGE, re.DOTALL)
    assert stated is not None

    for name in ("TEXT_LENGTH", "NODES", "DEPTH", "PATTERN_LENGTH", "VALUE_LENGTH", "VALUE_DEPTH", "WORK"):
        assert f"{getattr(bounds, f'MAX_{name}'):,}" in stated[0]
