"""Live: what a running process takes up, what it refuses, and who decides for whom."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from prometheus_client import REGISTRY

from api import live as live_module
from api.cli.explain import told as lines_of
from api.deployed import Challenge, Deployed
from api.keys import KeyRing
from api.live import Live
from api.model_registry import promote, roll_back, start_challenger, start_shadow, stop_challenger, stop_shadow
from api.publications import publish_strategy
from decisioning.catalog.load import load_bundle
from decisioning.learning.model_state import Standing, pack, states_of
from decisioning.records import Versions
from decisioning.scoring import Model, StatedScorer, load_model
from decisioning.store.memory import MemoryStore
from decisioning.store.packing import parsed
from models.adaptive import Learner
from tests.api.desk import Desk
from tests.api.models import saved
from tests.decisioning.bank import FILES, GOLD, PROPENSITIES, SILVER, TIPS, strategy


class Process:
    """A serving process on the in-memory store, with a models directory of its own."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self.desk = Desk(MemoryStore())
        self.store = self.desk.store
        self.live = self.desk.service.live = Live(self.store, models_dir, KeyRing(demo=True))

    async def publish(self, **files: str) -> str:
        bundle = {path: text.encode() for path, text in {**FILES, **files}.items()}
        published = load_bundle(bundle)
        await publish_strategy(self.store, bundle, published)
        return published.version

    async def promote(self, shift: float = 0.0) -> str:
        version = saved(self.models_dir, shift)
        await promote(self.store, self.models_dir, version)
        await self.live.refresh()
        return version

    async def record(self, decision_id: str) -> dict:
        return parsed(await self.store.find_record(decision_id) or b"")


@pytest.fixture
async def process(tmp_path: Path) -> Process:
    started = Process(tmp_path)
    await started.publish()
    await started.promote()
    await started.desk.know()
    return started


def refused(part: str) -> float:
    return sample("deployments_total", part=part, result="refused")


def sample(name: str, **labels: str) -> float:
    """What a metric of this process says."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_decisions_name_what_was_promoted_and_what_was_rolled_back_to(process: Process):
    first = (await process.desk.ask())["versions"]["model"]
    second = await process.promote(0.1)
    promoted = (await process.desk.ask())["versions"]["model"]
    await roll_back(process.store, process.models_dir)
    await process.live.refresh()

    assert promoted == second
    assert (await process.desk.ask())["versions"]["model"] == first


@pytest.mark.parametrize("name", ["model.json", "weights.npz"])
async def test_a_tampered_model_is_refused_once_and_the_old_one_decides_on(process: Process, name: str):
    before = await process.desk.ask()
    tampered = saved(process.models_dir, 0.2)
    file = process.models_dir / tampered / name
    file.write_bytes(file.read_bytes()[:-40])
    await process.store.put("current", "model", tampered.encode())
    count = refused("model")

    for _ in range(3):
        await process.live.refresh()

    assert (await process.desk.ask())["versions"] == before["versions"]
    assert refused("model") == count + 1


async def test_a_folder_read_while_it_was_copied_is_taken_up_later(process: Process, monkeypatch: pytest.MonkeyPatch):
    version = saved(process.models_dir, 0.2)
    weights = process.models_dir / version / "weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    await process.store.put("current", "model", version.encode())
    await process.live.refresh()
    weights.write_bytes(whole)
    monkeypatch.setattr(live_module, "REFUSED_S", 0.0)

    await process.live.refresh()

    assert (await process.desk.ask())["versions"]["model"] == version


async def test_a_model_that_cannot_rank_as_the_strategy_asks_leaves_the_old_pair_deciding(process: Process):
    before = (await process.desk.ask())["versions"]
    ranking = FILES["strategy.yaml"].replace("ranking: gross", "ranking: incremental")
    await process.publish(**{"strategy.yaml": ranking})

    await process.live.refresh()

    assert (await process.desk.ask())["versions"] == before


async def test_a_state_is_taken_up_named_and_found_again_for_an_explanation(process: Process):
    model = load_model(process.models_dir / process.live.current.versions.model)
    learner = Learner(model, half_life=60.0)
    at_ms = 1_790_000_000_000
    for number in (1, 2):
        learner.fold(model.regressors({"customer.income": 3000.0, "channel": "web"}), SILVER, True, at_ms / 86_400_000)
        await process.store.append(states_of(model.version), number, pack(Standing(number, at_ms, {}), learner))
        await process.live.refresh()
        if number == 1:
            early = await process.desk.ask()
    late = await process.desk.ask("web.tile")

    explained = (await process.desk.http.get(f"/v1/decisions/{early['decision_id']}")).json()

    assert (early["versions"]["model_state"], late["versions"]["model_state"]) == ("1", "2")
    assert explained["reproduced"] is True
    assert sample("model_state") == 2


async def test_a_decision_whose_state_is_gone_is_told_by_its_gates_and_its_recorded_figures(process: Process):
    model = load_model(process.models_dir / process.live.current.versions.model)
    standing = Standing(1, 1_790_000_000_000, {})
    await process.store.append(states_of(model.version), 1, pack(standing, Learner(model, half_life=60.0)))
    await process.live.refresh()
    await process.desk.know("C-2", income=10.0)
    poor, again = await process.desk.ask(customer="C-2"), await process.desk.ask(customer="C-2")
    await process.store.forget(states_of(model.version), before=2)
    await process.promote(0.5)

    explained, leased = [
        (await process.desk.http.get(f"/v1/decisions/{each['decision_id']}")).json() for each in (poor, again)
    ]

    assert poor["versions"]["model_state"] == "1" and explained["reproduced"] is None
    told = {each["action"]: each for each in explained["candidates"]}
    assert (told[GOLD]["reason"], told[GOLD]["rule"]) == ("suitability", "customer.income > 1000.0")
    assert (told[SILVER]["status"], told[SILVER]["propensity"]) == ("placed", poor["placements"][0]["propensity"])
    assert told[TIPS]["status"] == told[TIPS]["reason"] == "unscored"
    assert {each["reason"] for each in leased["candidates"] if each["status"] == "unscored"} == {"lease"}
    text = "\n".join(line for each in (explained, leased) for line in lines_of(each, ZoneInfo("UTC")))
    assert "This state is gone" in text and "no gate stopped it" in text and "A promise holds in every channel" in text


def of_other_bytes(model: Model) -> bytes:
    return b"damaged"


def of_no_numbers(model: Model) -> bytes:
    learner = Learner(model, half_life=60.0)
    learner.fold(np.full(model.width, np.nan), SILVER, True, 20_000.0)
    return pack(Standing(1, 1_790_000_000_000, {}), learner)


@pytest.mark.parametrize("damaged", [of_other_bytes, of_no_numbers])
async def test_a_damaged_state_is_refused_and_the_model_decides_as_before(
    process: Process, damaged: Callable[[Model], bytes]
):
    model, count = process.live.current.versions.model, refused("model_state")
    await process.store.append(states_of(model), 1, damaged(load_model(process.models_dir / model)))

    for _ in range(2):
        await process.live.refresh()

    assert (await process.desk.ask())["versions"]["model_state"] is None
    assert refused("model_state") == count + 1


async def test_a_shadow_is_logged_in_the_record_and_seen_in_the_explanation_only(process: Process):
    shadow = saved(process.models_dir, 0.5)
    await start_shadow(process.store, process.models_dir, shadow)
    await process.live.refresh()

    answer = await process.desk.ask("web.hero", "web.tile")

    record = await process.record(answer["decision_id"])
    explained = (await process.desk.http.get(f"/v1/decisions/{answer['decision_id']}")).json()
    assert record["shadow"]["versions"]["model"] == shadow != answer["versions"]["model"]
    for entry, placed in zip(record["shadow"]["placements"], answer["placements"], strict=True):
        assert entry["placement"] == placed["placement"] and entry["first"] in (GOLD, SILVER, placed["action"])
        if placed["outcome"] == "offer":
            assert entry["propensity"] > placed["propensity"]
    assert explained["shadow"] == record["shadow"] and "shadow" not in answer


async def test_without_a_shadow_records_hold_none(process: Process):
    await start_shadow(process.store, process.models_dir, saved(process.models_dir, 0.5))
    await stop_shadow(process.store)
    await process.live.refresh()

    answer = await process.desk.ask()

    assert "shadow" not in await process.record(answer["decision_id"])


async def test_a_shadow_that_fails_is_counted_and_touches_no_answer(process: Process):
    class Broken(StatedScorer):
        def scores(self, values):
            raise ZeroDivisionError

    current = process.live.current
    broken = Deployed(current.strategy, Broken(current.strategy, {}), Versions(current.versions.strategy, "broken"))
    process.live.current = Deployed(current.strategy, current.scorer, current.versions, shadow=broken)
    count = sample("shadow_errors_total")

    answer = await process.desk.ask()

    assert answer["degraded"] is False and answer["placements"][0]["outcome"] == "offer"
    assert sample("shadow_errors_total") == count + 1
    assert "shadow" not in await process.record(answer["decision_id"])


async def test_a_challenger_decides_for_its_persons_and_replay_knows(process: Process):
    first = process.live.current.versions.model
    second = saved(process.models_dir, 0.3)
    await start_challenger(process.store, process.models_dir, second, share=0.5)
    await process.live.refresh()

    answers = [await process.desk.ask(customer=f"C-{number}") for number in range(40)]

    assert {each["versions"]["model"] for each in answers} == {first, second}
    challenged = next(each for each in answers if each["versions"]["model"] == second)
    again = await process.desk.ask("web.tile", customer=challenged["customer_id"])
    explained = (await process.desk.http.get(f"/v1/decisions/{challenged['decision_id']}")).json()
    assert again["versions"]["model"] == second and explained["reproduced"] is True
    await stop_challenger(process.store)
    await process.live.refresh()
    after = await process.desk.ask("web.tile", customer=challenged["customer_id"])
    assert after["versions"]["model"] == first
    assert (await process.desk.http.get(f"/v1/decisions/{challenged['decision_id']}")).json()["reproduced"] is True


async def test_shadow_and_challenger_can_be_stopped_while_a_faulty_pair_is_refused(process: Process):
    first = process.live.current.versions.model
    await start_shadow(process.store, process.models_dir, saved(process.models_dir, 0.5))
    await start_challenger(process.store, process.models_dir, saved(process.models_dir, 0.3), share=0.5)
    await process.live.refresh()
    ranking = FILES["strategy.yaml"].replace("ranking: gross", "ranking: incremental")
    await process.publish(**{"strategy.yaml": ranking})
    await process.live.refresh()
    assert process.live.current.challenge and process.live.current.shadow

    await stop_challenger(process.store)
    await stop_shadow(process.store)
    await process.live.refresh()

    answers = [await process.desk.ask(customer=f"C-{number}") for number in range(20)]
    assert {each["versions"]["model"] for each in answers} == {first}
    assert "shadow" not in await process.record(answers[0]["decision_id"])


async def test_a_challenger_that_cannot_be_loaded_leaves_everybody_to_the_current_model(process: Process):
    first = process.live.current.versions.model
    second = saved(process.models_dir, 0.3)
    await start_challenger(process.store, process.models_dir, second, share=0.5)
    shutil.rmtree(process.models_dir / second)

    await process.live.refresh()

    assert {(await process.desk.ask(customer=f"C-{number}"))["versions"]["model"] for number in range(20)} == {first}


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_the_challengers_share_is_what_was_asked_and_a_larger_one_moves_nobody_back(share: float):
    bank = strategy()
    scorer = StatedScorer(bank, PROPENSITIES)

    def challenged(share: float) -> set[str]:
        other = Deployed(bank, scorer, Versions(bank.version, "other"))
        deployed = Deployed(
            bank, scorer, Versions(bank.version, "one"), challenge=Challenge(other, share, salt="other")
        )
        return {key for key in persons if deployed.for_person(key) is other}

    persons = [f"person-{number}" for number in range(20_000)]
    expected = np.array([share, 1.0 - share]) * len(persons)
    chosen = challenged(share)
    seen = np.array([len(chosen), len(persons) - len(chosen)])

    assert ((seen - expected) ** 2 / expected).sum() < 6.63  # chi-squared, one degree of freedom, 1 %
    assert chosen <= challenged(share + 0.05)
