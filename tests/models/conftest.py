"""One trained model for all tests that only read it."""

from __future__ import annotations

import pytest

from models.train import TrainedModel
from tests.models.tables import Table, table


@pytest.fixture(scope="session")
def contacts() -> Table:
    return table()


@pytest.fixture(scope="session")
def trained(contacts: Table) -> TrainedModel:
    return contacts.trained(order=range(len(contacts.actions)))
