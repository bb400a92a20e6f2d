"""Cases of the language as data, in two formats, and what it means to pass one.

JSON lines hold cases of the CEL conformance suite with typed values; a JSON list holds business rules with plain
profiles, whose answer is true, false or "unknown". The command line and the tests run both through `failure`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rules.check import check, resolve
from rules.compile import compile
from rules.environment import Environment
from rules.errors import RuleError
from rules.parse import parse
from rules.timestamps import Duration, Timestamp
from rules.tree import Ident, walk
from rules.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    TYPE,
    UINT,
    Type,
    list_of,
    map_of,
)
from rules.values import TYPE_NAMES, TypeValue, UInt, Value, as_key, from_key, kind_of

Typed = Mapping[str, Any]  # a value as an object with one key, its kind


@dataclass(frozen=True, slots=True)
class Case:
    """One case: evaluate() answers in the terms of `expect`, or raises RuleError."""

    name: str
    evaluate: Callable[[], Any]
    expect: Any


def load_cases(path: Path) -> list[Case]:
    """All cases of a file. Raises ValueError or KeyError when it holds neither format."""
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        return [_conformance_case(json.loads(line)) for line in text.split("\n") if line.strip()]
    return [_business_case(case) for case in json.loads(text)]


def failure(case: Case) -> str | None:
    """Why a case fails, or None when it passes."""
    try:
        answer = case.evaluate()
    except RuleError as error:
        answer = UNKNOWN
        detail = f" ({error})"
    else:
        detail = ""
    wanted, got = json.dumps(case.expect, sort_keys=True), json.dumps(answer, sort_keys=True)
    return None if wanted == got else f"expected {wanted}, got {got}{detail}"


UNKNOWN = (
    "unknown"  # the answer of a business case that cannot be known, and of a conformance case that ends in an error
)


def _conformance_case(raw: Mapping[str, Any]) -> Case:
    expect = raw["expect"]
    wanted = UNKNOWN if "error" in expect else _sorted(expect["value"])
    return Case("/".join((raw["file"], raw["section"], raw["name"])), lambda: _evaluate_conformance(raw), wanted)


def _evaluate_conformance(raw: Mapping[str, Any]) -> Typed:
    bindings = {name: from_typed(value) for name, value in raw["bindings"].items()}
    types = {name: read_type(text) for name, text in raw.get("type_env", {}).items()}
    environment = Environment({**dict.fromkeys(bindings, DYN), **types}, container=raw.get("container", ""))
    node = parse(raw["expr"])
    checked = resolve(node, environment)[0] if raw.get("disable_check") else check(node, environment)
    return to_typed(compile(checked)(bindings))


def _business_case(raw: Mapping[str, Any]) -> Case:
    return Case(raw["note"], lambda: _evaluate_business(raw), raw["expect"])


def _evaluate_business(raw: Mapping[str, Any]) -> Any:
    node = parse(raw["rule"])
    names = {part.name for part, _ in walk(node) if isinstance(part, Ident)}
    environment = Environment(dict.fromkeys(names, DYN))
    return compile(check(node, environment, BOOL))(raw["profile"])


def from_typed(typed: Typed) -> Value:
    """A typed value as a value of the language."""
    ((kind, raw),) = typed.items()
    match kind:
        case "list":
            return [from_typed(element) for element in raw]
        case "map":
            return {as_key(from_typed(key)): from_typed(value) for key, value in raw}
    return _READ[kind](raw)


def to_typed(value: Value) -> Typed:
    """A value of the language as a typed value; the entries of a map in an order of their own."""
    kind = kind_of(value)
    match kind:
        case "list":
            return {"list": [to_typed(element) for element in value]}
        case "map":
            return _sorted({"map": [[to_typed(from_key(key)), to_typed(entry)] for key, entry in value.items()]})
    return {kind: _WRITE.get(kind, str)(value)}


def _sorted(typed: Typed) -> Typed:
    """The same typed value with the entries of its maps in the order of their text, and doubles in one spelling."""
    ((kind, raw),) = typed.items()
    match kind:
        case "list":
            return {"list": [_sorted(element) for element in raw]}
        case "map":
            return {"map": _sorted_entries(raw)}
        case "double":
            return {"double": repr(float(raw))}
    return typed


def _sorted_entries(entries: Iterable[Any]) -> list[Any]:
    return sorted(([_sorted(key), _sorted(value)] for key, value in entries), key=lambda entry: json.dumps(entry[0]))


def read_type(text: str) -> Type:
    """A declared type such as `map(string, list(int))`."""
    name, _, inner = text.strip().removesuffix(")").partition("(")
    if name == "list":
        return list_of(read_type(inner))
    if name == "map":
        key, _, value = inner.partition(",")  # a key is a simple type, so the first comma ends it
        return map_of(read_type(key), read_type(value))
    return _DECLARED[name]


_READ: Mapping[str, Callable[[Any], Value]] = {
    "int": int,
    "uint": UInt,
    "double": float,
    "string": str,
    "bytes": base64.b64decode,
    "bool": bool,
    "null": lambda raw: None,
    "timestamp": Timestamp.parse,
    "duration": Duration.parse,
    "type": TypeValue,
}
_WRITE: Mapping[str, Callable[[Value], Any]] = {
    "int": int,
    "uint": int,
    "double": repr,
    "bool": bool,
    "null": lambda value: None,
    "type": lambda value: value.name,
    "bytes": lambda value: base64.b64encode(value).decode(),
}
_DECLARED: Mapping[str, Type] = {
    **{
        TYPE_NAMES[type_.kind]: type_
        for type_ in (INT, UINT, DOUBLE, STRING, BYTES, BOOL, NULL, TYPE, TIMESTAMP, DURATION)
    },
    "dyn": DYN,
    "timestamp": TIMESTAMP,
    "duration": DURATION,
    "null": NULL,
}
