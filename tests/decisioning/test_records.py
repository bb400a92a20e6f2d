"""A record keeps what was read, seals what is personal, and opens in whatever order its keys stand."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.strategy import Strategy
from decisioning.records import Versions, as_json, core_of, decision_record, open_record, replay
from decisioning.request import Request
from decisioning.scoring import StatedScorer
from decisioning.sealing import unseal
from decisioning.store.packing import canonical, parsed
from tests.decisioning.bank import FILES, PROPENSITIES, ask, customer, strategy

NAMES = ("age", "tier", "income", "language", "first_name", "joined")
KNOWN: dict[str, Any] = {"age": 44, "tier": "gold", "first_name": "Éva", "joined": "2024-02-29T12:00:00.5Z"}
CONTEXT = {"page": "loans"}
# Rules that nobody fails ask for what no other rule reads, so that every attribute is in the record.
READS_ALL = 'eligibility: ["customer.age >= 18", "customer.tier != \'x\'", "customer.joined < now"]'


def bank_with(personal: frozenset[str]) -> Strategy:
    """The bank with exactly these attributes personal, `page` for the context's."""
    schema = FILES["schema.yaml"].replace(", personal: true", "")
    schema = schema.replace("context:\n", "  joined: {type: timestamp, source: crm}\ncontext:\n")
    for name in personal:
        schema = schema.replace(f"  {name}: {{", f"  {name}: {{personal: true, ")
    cards = FILES["actions/cards.yaml"].replace('eligibility: ["customer.age >= 18"]', READS_ALL)
    return strategy({"schema.yaml": schema, "actions/cards.yaml": cards})


@settings(max_examples=25, deadline=None)
@given(st.sets(st.sampled_from((*NAMES, "page"))).map(frozenset), st.sets(st.sampled_from(sorted(KNOWN))))
def test_a_record_seals_what_is_personal_and_opens_to_the_same_decision(
    personal: frozenset[str], unknown: set[str]
) -> None:
    bank = bank_with(personal)
    snapshot = customer(**(KNOWN | dict.fromkeys(unknown)))
    decision = ask(bank, snapshot, context=CONTEXT)

    written = decision_record(
        decision, Request("C-1", "web", ("web.hero",), CONTEXT), snapshot, bank, Versions(bank.version, "m"), key_id="k"
    )

    record, key = parsed(written), snapshot.state.sealing_key
    private = parsed(unseal(key, record["sealed"]))
    attributes = {name: as_json(value) for name, value in decision.attributes.items()}
    assert set(attributes) >= set(KNOWN) - unknown
    for sealed, readable, values, root in (
        (private["attributes"], record["snapshot"]["attributes"], attributes, "customer"),
        (private["context"], record["context"], CONTEXT, "context"),
    ):
        hidden = {name for name in values if f"{root}.{name}" in bank.schema.personal}
        assert sealed == {name: values[name] for name in hidden}
        assert readable == {name: values[name] for name in values.keys() - hidden}
    for body in (record, parsed(canonical(record))):  # as it is written, and sorted, as it was before
        again = replay(open_record(body, key, bank), bank, StatedScorer(bank, PROPENSITIES))
        assert canonical(core_of(again.placements)) == canonical(core_of(decision.placements))
