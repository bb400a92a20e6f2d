"""One trained model for all tests that only read it."""

from __future__ import annotations

import pytest

from models.train import TrainedModel
from models.train_incremental import TrainedIncremental
from tests.models.tables import Table, table
from tests.models.waves import Waves, older_gain_more


@pytest.fixture(scope="session")
def contacts() -> Table:
    return table()


@pytest.fixture(scope="session")
def trained(contacts: Table) -> TrainedModel:
    return contacts.trained(order=range(len(contacts.actions)))


@pytest.fixture(scope="session")
def ordered() -> tuple[Waves, TrainedIncremental]:
    waves = Waves(older_gain_more)
    return waves, waves.trained()
