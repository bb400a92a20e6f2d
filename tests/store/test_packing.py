"""Packing: nothing is lost, foreign bytes are no customer, and a customer takes as little as the guide says."""

from __future__ import annotations

import dataclasses
import json
import random
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning import interactions
from decisioning.customer import (
    Consent,
    DayCount,
    Hold,
    Interaction,
    LeaseEntry,
    Profile,
    Render,
    SourceFacts,
    State,
    copy_of,
)
from decisioning.errors import StoreDamaged
from decisioning.opening import RENDER_COUNT_MAX, with_render
from decisioning.store.packing import (
    _State,
    canonical,
    fresh_state,
    json_of,
    pack,
    parsed,
    state_of,
    unpack_profile,
    unpack_state,
)
from rules import Duration, Timestamp

NOW_MS = 1_790_000_000_000
WORST_STATE_BYTES = 9_000  # with bounds full and keys as long as the example's; see docs/operations.md

hexadecimal = st.binary(min_size=8, max_size=8).map(bytes.hex)
decision_ids = st.builds("{:03d}-{:011x}-{}".format, st.integers(0, 255), st.integers(1, (1 << 44) - 1), hexadecimal)
texts = st.one_of(st.sampled_from(["web", "grow/cards/gold"]), decision_ids, hexadecimal, st.text(max_size=20))
numbers = st.one_of(st.integers(0, 300), st.integers(0, 1 << 53))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
profiles = st.builds(
    Profile,
    st.dictionaries(
        st.text(max_size=9),
        st.builds(SourceFacts, numbers, st.dictionaries(st.text(max_size=9), json_values, max_size=5),
                  st.dictionaries(st.text(max_size=9), numbers, max_size=2)),
        max_size=4,
    ),
)  # fmt: skip


def filled(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type with every field given, those with a default too, whatever fields it will have."""
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return st.builds(kind, **{name: filled(each) for name, each in get_type_hints(kind).items()})
    match get_origin(kind), get_args(kind):
        case (origin, (inner,)) if origin is list:
            return st.lists(filled(inner), max_size=5)
        case (origin, (_, inner)) if origin is dict:
            return st.dictionaries(texts, filled(inner), max_size=3)
        case (origin, arms) if origin is UnionType:
            return st.one_of(*map(filled, arms))
    return {str: texts, int: numbers, bool: st.booleans(), type(None): st.none()}[kind]


@settings(max_examples=100, deadline=None)
@given(filled(State))
def test_a_state_comes_back_as_it_was(state):
    assert unpack_state(pack(state)) == state


@settings(max_examples=50, deadline=None)
@given(filled(State))
def test_a_state_comes_back_from_a_record(state):
    assert state_of(parsed(canonical(state))) == state


@given(filled(State))
def test_a_copied_state_is_another_with_the_same_in_it(state):
    copied = copy_of(state)

    assert copied == dataclasses.replace(state)
    assert copied is not state


@given(json_values)
def test_json_says_the_same_sorted_and_not(value):
    assert parsed(json_of(value)) == parsed(canonical(value)) == parsed(json.dumps(value).encode())


def test_a_time_is_its_text_in_json_and_anything_else_no_value():
    assert json_of({"at": Timestamp.from_ms(NOW_MS)}) == b'{"at":"%s"}' % str(Timestamp.from_ms(NOW_MS)).encode()
    with pytest.raises(TypeError, match="Duration"):
        json_of([Duration(1)])


@given(profiles)
def test_a_profile_comes_back_as_it_was(profile):
    assert unpack_profile(pack(profile)) == profile


def test_more_texts_than_a_byte_can_number_come_back():
    state = fresh_state()
    state.interactions = [Interaction(at, "clicked", f"grow/cards/{at}", "web") for at in range(300)]
    state.day_counts = [DayCount(at, "clicked", f"grow/loans/{at}", "email", at, at) for at in range(300)]

    assert unpack_state(pack(state)) == state


@given(st.binary(max_size=80))
def test_foreign_bytes_are_damage(foreign):
    for unpack in (unpack_state, unpack_profile):
        with pytest.raises(StoreDamaged):
            unpack(b"\x07" + foreign)
        with pytest.raises(StoreDamaged):
            unpack(b"{" + foreign)


@given(st.data())
def test_a_state_that_was_cut_off_is_damage(data):
    packed = pack(customer_of_the_guide()[0])

    with pytest.raises(StoreDamaged):
        unpack_state(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize("name", ["interactions", "day_counts"])
def test_a_state_that_lacks_a_column_is_damage(name):
    state = fresh_state()
    state.interactions = [Interaction(at, "clicked", "grow/cards/gold", "web") for at in range(2)]
    state.day_counts = [DayCount(at, "clicked", "grow/cards/gold", "web", 1, at) for at in range(2)]
    packed = pack(state)
    head, fields = packed[: 2 + packed[1]], msgspec.msgpack.decode(packed[2 + packed[1] :])
    fields[_State.__struct_fields__.index(name)].pop()

    with pytest.raises(StoreDamaged):
        unpack_state(head + msgspec.msgpack.encode(fields))


def test_fields_of_a_later_version_are_passed_over():
    state = customer_of_the_guide()[0]
    packed = pack(state)
    head, fields = packed[: 2 + packed[1]], msgspec.msgpack.decode(packed[2 + packed[1] :])
    columns = {name: index for index, name in enumerate(_State.__struct_fields__)}
    for name in ("consents", "lease", "holds"):
        for row in fields[columns[name]]:
            row.append("later")
    fields[columns["interactions"]].append([1, 2, 3])
    fields += ["later", {"still": "later"}]

    assert unpack_state(head + msgspec.msgpack.encode(fields)) == state


def test_a_customer_takes_no_more_than_the_guide_says():
    state, profile = customer_of_the_guide()

    assert len(pack(state)) <= 550
    assert len(pack(profile)) <= 650


def test_a_state_whose_bounds_are_full_takes_no_more_than_stated():
    state = busiest_state()

    packed = pack(state)

    assert len(state.interactions) == interactions.ANSWER_COUNT_MAX + interactions.RECENT_COUNT_MAX
    assert len(state.day_counts) > 0.9 * interactions.DAY_COUNT_MAX
    assert len(packed) <= WORST_STATE_BYTES


def customer_of_the_guide() -> tuple[State, Profile]:
    """30 attributes from 4 sources, 20 interactions, 2 consents, a lease and a hold."""
    chance = random.Random(1)
    state = fresh_state()
    decision_id = f"017-{NOW_MS:x}-0123456789abcdef"
    state.draw_index = 17
    state.consents = [
        Consent("email", "marketing", True, NOW_MS - 10**10, 2, "crm", "consent"),
        Consent("call_center", "marketing", False, NOW_MS - 10**9, 1, "call_center", "consent"),
    ]
    state.lease = [LeaseEntry("grow/cards/gold_upgrade", decision_id, NOW_MS, NOW_MS + 14_400_000, ["web"])]
    state.holds = {"web.home.hero": Hold("nurture/brand/app_tips", decision_id, NOW_MS + 3_600_000)}
    actions = ["grow/cards/gold_upgrade", "grow/cards/cashback", "grow/loans/personal", "nurture/brand/app_tips"]
    for day in range(20, 0, -1):
        at_ms = NOW_MS - day * interactions.DAY_MS + chance.randrange(interactions.DAY_MS)
        outcome = chance.choice(("selected", "impression", "clicked", "rejected"))
        interaction = Interaction(at_ms, outcome, chance.choice(actions), chance.choice(("web", "email")))
        interactions.append(state, interaction)
    profile = Profile()
    for source, count in (("crm", 8), ("core_banking", 10), ("cards", 7), ("web", 5)):
        names = [
            f"{chance.choice(('balance_avg', 'tenure_months', 'segment', 'card_tier'))}_{each}" for each in range(count)
        ]
        kinds = (round(chance.random() * 9999, 2), chance.randrange(500), "standard", True)
        profile.sources[source] = SourceFacts(NOW_MS - 10**7, {name: chance.choice(kinds) for name in names})
    return state, profile


def busiest_state() -> State:
    """A year of somebody who is asked for all day: every bound is full, of 40 actions in 4 channels."""
    chance, state = random.Random(2), customer_of_the_guide()[0]
    at_ms = NOW_MS - 365 * interactions.DAY_MS
    while at_ms < NOW_MS:
        at_ms += chance.randrange(2 * 3_600_000)
        action = f"grow/group_{chance.randrange(5)}/action_number_{chance.randrange(8)}"
        outcome = chance.choice(("selected", "rendered", "impression", "clicked", "dismissed", "rejected"))
        channel = chance.choice(("web", "email", "mobile", "call_center"))
        interactions.append(state, Interaction(at_ms, outcome, action, channel))
    for number in range(RENDER_COUNT_MAX):
        shown = f"017-{NOW_MS:x}-{number:016x}", f"grow/group_0/action_number_{number % 8}"
        render = Render(f"{number:016x}", "email.hero", *shown, NOW_MS, NOW_MS + 14_400_000, held=True)
        state.renders = with_render(state.renders, render)
    return state
