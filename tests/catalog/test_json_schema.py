"""JSON Schemas for editors: generated from the layout, current in the repository, telling right files from wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from decisioning.catalog.faults import Faults
from decisioning.catalog.json_schema import schema_name, schemas
from decisioning.catalog.layout import FILES, FILES_BESIDE
from decisioning.catalog.yaml_text import plain, read_yaml

ROOT = Path(__file__).parents[2]
BANKS = (ROOT / "examples/retail_bank", ROOT / "examples/bank_calls")
EXAMPLES = [
    file
    for bank in BANKS
    for file in sorted(bank.rglob("*.yaml"))
    if not FILES_BESIDE.fullmatch(file.relative_to(bank).as_posix())
]
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


def said(text: str) -> Any:
    return plain(read_yaml("file.yaml", text.encode(), Faults()))


def name_for(path: str) -> str:
    return next(schema_name(pattern) for pattern, _ in FILES if pattern.fullmatch(path))


def schema_for(path: str) -> jsonschema_rs.Validator:
    """The validator of a file of a strategy."""
    return jsonschema_rs.validator_for(schemas()[name_for(path)])


def test_the_schemas_in_the_repository_are_current():
    stored = {file.name: json.loads(file.read_text()) for file in (ROOT / "docs/schemas").glob("*.json")}

    assert stored == schemas(), "run: nextbest schema docs/schemas"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT / "examples")))
def test_an_example_names_its_schema_and_obeys_it(file: Path):
    path = file.relative_to(next(bank for bank in BANKS if bank in file.parents)).as_posix()
    named = MODELINE.match(text := file.read_text())

    assert named is not None, "the first line says: # yaml-language-server: $schema=…"
    assert (file.parent / named[1]).resolve() == ROOT / "docs/schemas" / name_for(path)
    assert [error.message for error in schema_for(path).iter_errors(said(text))] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("channels.yaml", "web: {direction: sideways, lease_minutes: 60, contact_cost: 0.0}"),
        ("channels.yaml", "web: {direction: inbound, lease_minutes: 1.5, contact_cost: 0.0}"),
        ("channels.yaml", "web: {direction: inbound, lease_minutes: 60}"),
        ("channels.yaml", "Web: {direction: inbound, lease_minutes: 60, contact_cost: 0.0}"),
        ("strategy.yaml", "{name: x, currency: euro, timezone: UTC, languages: [en], ranking: gross}"),
        ("strategy.yaml", "{name: x, currency: EUR, timezone: UTC, languages: [], ranking: gross}"),
        ("contact_policies.yaml", "p: {scope: group, outcomes: [clicked], limit: 0, window_days: 7, hold_days: 7}"),
        ("schema.yaml", "{purposes: [a], customer: {age: {type: int, persnal: true}}}"),
        ("actions/cards.yaml", "{issue: grow, group: cards, actions: {gold: {kind: offer, purpose: marketing}}}"),
        ("personas/one.yaml", "{name: x, channel: web, placements: web.hero, expect: {}}"),
    ],
)
def test_a_wrong_file_fails(path: str, text: str):
    assert not schema_for(path).is_valid(said(text))
