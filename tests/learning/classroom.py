"""A small bank that learns: decisions and responses as a service writes them, and a learner to its end of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from decisioning.catalog.strategy import Strategy
from decisioning.customer import partition_of
from decisioning.decide import decide
from decisioning.errors import VersionMissing
from decisioning.learning.chain import Entry
from decisioning.learning.checkpoints import folds_of
from decisioning.learning.job import Pace, Progress, run_learner
from decisioning.records import Versions, decision_record
from decisioning.request import Decision, Request
from decisioning.respond import Response, ended_by, respond, response_record
from decisioning.scoring import ModelScorer
from decisioning.store.packing import canonical
from decisioning.store.protocol import Change, Committed, Record, Store
from models.features import Coded, FeatureEncoder, Numeric
from models.propensity import Posterior, PriorVariances, PropensityModel
from tests.decisioning.bank import GOLD, SILVER, customer, strategy

PRIORS = PriorVariances(intercept=(0.25, 0.25, 0.25), slope=(0.04, 0.04, 0.04))
QUICK = Pace(poll_ms=1, lease_ms=50, retention_ms=10**12)


def model_of(*, intercept: float = -2.0) -> PropensityModel:
    """A model that knows gold and silver; age is personal in the bank's schema, income is not."""
    age = Numeric("customer.age", logarithmic=False, median=40.0, mean=40.0, sd=10.0, knots=(30.0, 50.0))
    income = Numeric("customer.income", logarithmic=True, median=2000.0, mean=7.5, sd=0.8, knots=())
    channel = Coded("channel", "categorical", ("email", "web"))
    encoder = FeatureEncoder([age, income, channel])
    nodes = ("", "grow", "grow/cards", GOLD, SILVER)
    means = np.zeros((len(nodes), encoder.width))
    means[0, 0] = intercept
    variances = np.full_like(means, 0.04)
    variances[1:, encoder.is_band] = 0.0
    posterior = Posterior(nodes, means, variances)
    return PropensityModel(encoder, None, posterior, PRIORS, [], {GOLD: 500, SILVER: 500})


class Classroom:
    """One store with a strategy and a model that decides. Also the library in which the learner looks things up."""

    def __init__(self, store: Store, *, bank: Strategy | None = None, model: PropensityModel | None = None) -> None:
        self.store = store
        self.bank = bank or strategy()
        self.models = {each.version: each for each in [model or model_of()]}
        self.current = next(iter(self.models))
        self.history: dict[str, Mapping[str, Any]] = {}  # what only history still has
        self._decided = self._told = 0

    @property
    def current_model(self) -> PropensityModel:
        return self.models[self.current]

    async def deciding(self) -> Sequence[str]:
        return [self.current]

    async def model(self, version: str) -> PropensityModel:
        return self.models[version]

    async def strategy(self, version: str) -> Strategy:
        if version != self.bank.version:
            raise VersionMissing("no such strategy")
        return self.bank

    def archived(self, decision_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        return {each: self.history[each] for each in decision_ids if each in self.history}

    async def decide(
        self, customer_key: str = "C-1", *placements: str, client_class: str | None = None, **attributes: Any
    ) -> Decision:
        """One recorded decision; the first one stores the customer. client_class: of who opened a mail."""
        names = placements or ("web.hero",)
        [snapshot] = await self.store.read([customer_key])
        if snapshot.profile is None:
            snapshot = replace(snapshot, profile=customer(now_ms=snapshot.now_ms, **attributes).profile)
        request = Request(customer_key, names[0].split(".")[0], names)
        self._decided += 1
        decision_id = f"{partition_of(customer_key):03d}-{snapshot.now_ms:x}-{self._decided:016x}"
        scorer = ModelScorer(self.bank, self.current_model)
        decision = decide(request, snapshot, self.bank, scorer, decision_id=decision_id)
        versions = Versions(self.bank.version, self.current)
        body = decision_record(decision, request, snapshot, self.bank, versions, key_id="k", client_class=client_class)
        records = [Record(decision_id, body)]
        change = Change(customer_key, snapshot.state_version, decision.state, snapshot.profile, records)
        [outcome] = await self.store.commit([change])
        assert isinstance(outcome, Committed)
        return decision

    async def tell(self, decision: Decision, *outcomes: str, customer_key: str = "C-1") -> None:
        """Report what came of the first placement of a decision."""
        [placed, *_] = decision.placements
        assert placed.action is not None
        for outcome in outcomes:
            self._told += 1
            [snapshot] = await self.store.read([customer_key])
            ends = ended_by(outcome, placed.action, self.bank)
            response = Response(
                f"r{self._told}", customer_key, outcome, placed.action, ends, snapshot.now_ms,
                decision_id=decision.decision_id, placement=placed.placement,
            )  # fmt: skip
            body = canonical(response_record(response, snapshot.state, received_ms=snapshot.now_ms))
            state, records = respond(response, snapshot.state), [Record(response.response_id, body)]
            [outcome_of] = await self.store.commit(
                [Change(customer_key, snapshot.state_version, state, records=records)]
            )
            assert isinstance(outcome_of, Committed)

    async def learn(self, *, pace: Pace = QUICK) -> Progress:
        """A learner, from its start to the end of the log; how it stood then."""
        stop, last = asyncio.Event(), Progress()

        def look(progress: Progress) -> None:
            nonlocal last
            last = replace(progress)
            if (progress.owner and not progress.more_waiting) or progress.trouble:
                stop.set()

        async with asyncio.timeout(20):
            await run_learner(self.store, self, stop=stop, on_progress=look, pace=pace)
        return last

    async def steps(self) -> list[tuple[str, str, str]]:
        """Decision, action and step of all that was folded into the current model, in order."""
        found = await self.store.entries(folds_of(self.current), after=0, limit=100_000)
        entries = [Entry.unpacked(each.body) for each in found]
        return [(*row.trial, row.step) for entry in entries for row in entry.rows]
