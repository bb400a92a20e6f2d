"""The API's page: what /openapi.json says, for people. Ours, because the usual ones fetch scripts from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from api.console.page import Visit


async def reference_page(visit: Visit) -> Response:
    """GET: every endpoint with what it takes and gives."""
    described = visit.request.app.openapi()
    operations = [
        _operation(method, path, operation)
        for path, by_method in described["paths"].items()
        for method, operation in by_method.items()
    ]
    schemas = {
        name: json.dumps(schema, indent=2) for name, schema in sorted(described["components"]["schemas"].items())
    }
    return visit.show("reference.html", operations=operations, schemas=schemas)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "takes": _schemas(operation.get("requestBody", {})),
        "gives": [
            {"status": status, "says": answer.get("description", ""), "schemas": _schemas(answer)}
            for status, answer in sorted(operation["responses"].items())
        ],
    }


def _schemas(holder: Mapping[str, Any]) -> list[str]:
    """The names of the schemas of a body."""
    schema = holder.get("content", {}).get("application/json", {}).get("schema", {})
    return [each["$ref"].rpartition("/")[2] for each in schema.get("oneOf", [schema]) if "$ref" in each]
