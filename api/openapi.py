"""OpenAPI: the published schemas are generated from the very types that decode requests, so they cannot drift apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from api.endpoint import Endpoint
from api.errors import STATUS
from api.schemas import ProblemAnswer

REF = "#/components/schemas/{name}"
EVERYWHERE = (
    "unauthorised",
    "forbidden",
    "invalid_field",
    "rate_limited",
    "internal",
    "not_ready",
    "store_unavailable",
)
WITH_BODY = ("malformed_json", "too_large")


def paths_of(endpoints: Sequence[Endpoint]) -> tuple[dict[str, Any], dict[str, Any]]:
    """OpenAPI `paths` and `components.schemas` of the endpoints."""
    types = [ProblemAnswer]
    for each in endpoints:
        types += [*_alternatives(each.answer), *_alternatives(each.body)]
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    paths: dict[str, Any] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    return paths, components


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "description": f"Scope: `{endpoint.scope}`.",
        "operationId": endpoint.handler.__name__,
        "security": [{"bearer": []}],
        "responses": {"200": {"description": "Done.", "content": _json(endpoint.answer)}, **_problems(endpoint)},
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(endpoint.body)}
    names = [part.strip("{}") for part in endpoint.path.split("/") if part.startswith("{")]
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in names
        ]
    return operation


def _problems(endpoint: Endpoint) -> dict[str, Any]:
    codes = {*EVERYWHERE, *endpoint.problems, *(WITH_BODY if endpoint.body is not None else ())}
    by_status: dict[str, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(str(STATUS[code]), []).append(f"`{code}`")
    return {
        status: {"description": ", ".join(known), "content": _json(ProblemAnswer)}
        for status, known in by_status.items()
    }


def _json(kind: Any) -> dict[str, Any]:
    schemas, _ = msgspec.json.schema_components(_alternatives(kind), ref_template=REF)
    return {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": list(schemas)}}}


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if kind is None:
        return ()
    return kind if isinstance(kind, tuple) else (kind,)
