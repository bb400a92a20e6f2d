"""JSON Schema: the shapes of a strategy's files for editors, which complete and check YAML by them while it is written.

Generated from `layout.py`, the one place that says what a file may hold. What refers to other files, such as the names
of placements, is checked by `nextbest check` alone.
"""

from __future__ import annotations

import math
import re
from typing import Any

from decisioning.catalog.layout import FILES
from decisioning.catalog.shape import Expression, Flag, Listed, Named, Number, Record, Shape, Text

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema, one for every kind of YAML file."""
    return {schema_name(pattern): _titled(pattern, shape) for pattern, shape in FILES if shape is not None}


def schema_name(pattern: re.Pattern[str]) -> str:
    """`channels.json` for channels.yaml, `actions.json` for the files below actions/."""
    return _readable(pattern).removesuffix(".yaml").removesuffix("/*").replace("/", ".") + ".json"


def _titled(pattern: re.Pattern[str], shape: Shape) -> dict[str, Any]:
    about = {"title": f"{_readable(pattern)} of a Nextbest strategy", "description": "docs/strategy.md explains it."}
    return {"$schema": DIALECT, **about, **json_schema_of(shape)}


def _readable(pattern: re.Pattern[str]) -> str:
    return pattern.pattern.replace("[^/]+", "*").replace("\\", "")


def json_schema_of(shape: Shape) -> dict[str, Any]:
    """The values that a shape lets through, as far as they can be told without other files."""
    match shape:
        case Text():
            return _text(shape)
        case Number():
            bounds = {"minimum": shape.minimum, "maximum": shape.maximum}
            finite = {name: bound for name, bound in bounds.items() if math.isfinite(bound)}
            return {"type": "integer" if shape.whole else "number", **finite}
        case Flag():
            return {"type": "boolean"}
        case Listed(item=item):
            items = {"type": "array", "items": json_schema_of(item), "minItems": shape.least}
            return items | ({"uniqueItems": True} if isinstance(item, Text) else {})
        case Named():
            names = {"propertyNames": _matching(shape.pattern, shape.form)} if shape.pattern else {}
            return {"type": "object", "additionalProperties": json_schema_of(shape.item), **names}
        case Record():
            entries = {**shape.required, **shape.optional}
            return {
                "type": "object",
                "properties": {name: json_schema_of(each) for name, each in entries.items()},
                "required": list(shape.required),
                "additionalProperties": False,
            }
    return {}


def _text(shape: Text) -> dict[str, Any]:
    if shape.words:
        return {"type": "string", "enum": list(shape.words)}
    if shape.pattern:
        return {"type": "string", **_matching(shape.pattern, shape.form)}
    about = {"description": "A rule; docs/rules.md has the language."} if isinstance(shape, Expression) else {}
    return {"type": "string", "pattern": r"\S", **about}


def _matching(pattern: re.Pattern[str], form: str) -> dict[str, str]:
    return {"pattern": f"^(?:{pattern.pattern})$", "description": form}
