"""Model states come back as they were packed, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisioning.errors import RegistryDamaged
from decisioning.learning.model_state import ModelState, Standing, latest_state, pack, standing_of, states_of, unpack
from decisioning.store.memory import MemoryStore
from models.adaptive import Learner
from tests.decisioning.bank import GOLD
from tests.learning.classroom import model_of

MODEL = model_of()
STANDING = Standing(7, 1_793_000_000_000, {"0": "1793000000000-0", "255": "0-0"})


def packed() -> bytes:
    learner = Learner(MODEL, half_life=60.0)
    learner.fold(MODEL.regressors({"customer.age": 30.0, "channel": "web"}), GOLD, True, 20_000.0)
    return pack(STANDING, learner)


def test_a_state_comes_back_with_what_was_learnt_and_where_it_stands() -> None:
    state = unpack(packed(), MODEL)

    assert (state.number, state.model, state.positions) == (7, MODEL.version, STANDING.positions)
    assert state.impressions == {GOLD: 1}
    assert state.posterior.means[0, 0] > MODEL.posterior.means[0, 0]
    assert standing_of(packed()) == STANDING


def test_equal_states_are_equal_bytes() -> None:
    assert packed() == packed()


@given(cut=st.integers(0, len(packed()) - 1))
def test_a_truncated_state_is_refused(cut: int) -> None:
    with pytest.raises(RegistryDamaged):
        unpack(packed()[:cut], MODEL)


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(RegistryDamaged, match="does not fit"):
        unpack(packed(), model_of(intercept=1.0))


def test_a_state_of_numbers_that_are_none_is_refused() -> None:
    learner = Learner(MODEL, half_life=60.0)
    learner.fold(np.full(MODEL.width, np.nan), GOLD, True, 20_000.0)

    with pytest.raises(RegistryDamaged, match="finite"):
        unpack(pack(STANDING, learner), MODEL)


async def test_a_reader_who_has_the_newest_state_is_handed_no_other() -> None:
    store = MemoryStore()
    await store.append(states_of(MODEL.version), 7, packed())

    newest = await latest_state(store, MODEL, after=6)

    assert isinstance(newest, ModelState) and np.isfinite(newest.posterior.means).all()
    assert await latest_state(store, MODEL, after=7) is None
    assert await latest_state(store, model_of(intercept=1.0)) is None
