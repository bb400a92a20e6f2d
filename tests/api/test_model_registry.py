"""The registry of models: pointers, the log, the gate that guards them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.model_registry import (
    Override,
    Pointers,
    pointers_of,
    promote,
    promotions,
    roll_back,
    start_challenger,
    start_shadow,
    stop_challenger,
    stop_shadow,
)
from api.publications import publish_strategy
from decisioning import release
from decisioning.catalog.load import load_bundle
from decisioning.errors import ModelRefused, RegistryDamaged, ReleaseRefused, VersionMissing
from decisioning.store.memory import MemoryStore
from tests.api.models import saved
from tests.decisioning.bank import FILES

ADA = Override("Ada Byron", "prices changed")


async def installation(**strategy: str) -> MemoryStore:
    """A store with the bank's strategy, some of its files replaced."""
    files = {path: text.encode() for path, text in {**FILES, **strategy}.items()}
    store = MemoryStore()
    await publish_strategy(store, files, load_bundle(files))
    return store


async def test_promoting_moves_the_pointer_and_a_rollback_goes_one_step_further_back_each_time(tmp_path: Path):
    store = await installation()
    versions = [saved(tmp_path, shift) for shift in (0.0, 0.1, 0.2)]
    for each in versions:
        await promote(store, tmp_path, each[:8])

    back = [await roll_back(store, tmp_path) for _ in range(2)]

    assert back == [versions[1], versions[0]]
    assert (await pointers_of(store)).model == versions[0]
    assert [each.how for each in await promotions(store)] == ["promote"] * 3 + ["rollback"] * 2
    with pytest.raises(VersionMissing):
        await roll_back(store, tmp_path)


async def test_a_refusal_names_everything_at_once_and_changes_nothing(tmp_path: Path):
    store = await installation()
    await promote(store, tmp_path, saved(tmp_path))
    before = await pointers_of(store)
    poor = saved(tmp_path, 0.1, positives=83, auc=0.6, auc_interval=(0.59, 0.61), calibration_slope_interval=(0.4, 0.6))

    with pytest.raises(ReleaseRefused) as refused:
        await promote(store, tmp_path, poor)

    assert [each.split(":")[0] for each in refused.value.reasons] == ["positives", "calibration", "ranking"]
    assert "83" in str(refused.value) and "--override" in str(refused.value)
    assert await pointers_of(store) == before and len(await promotions(store)) == 1


async def test_an_override_is_kept_with_its_name_reason_and_what_it_overrode(tmp_path: Path):
    store = await installation()

    await promote(store, tmp_path, saved(tmp_path, positives=83), override=ADA)

    (line,) = await promotions(store)
    assert line.by.startswith("Ada Byron (") and line.reason == "prices changed"
    assert [each.split(":")[0] for each in line.overridden] == ["positives"]


async def test_an_override_that_was_not_needed_overrides_nothing(tmp_path: Path):
    store = await installation()

    await promote(store, tmp_path, saved(tmp_path), override=ADA)

    (line,) = await promotions(store)
    assert not line.overridden and not line.reason


@pytest.mark.parametrize(
    ("figures", "failed"),
    [
        ({"calibration_error": 0.03}, ["calibration"]),
        ({"calibration_slope_interval": (1.2, 1.4)}, ["calibration"]),
        ({"calibration_slope_interval": None}, ["calibration"]),
        ({"positives": 200}, []),
        ({"positives": 199}, ["positives"]),
        ({"auc": 0.5, "auc_interval": (0.48, 0.52)}, []),  # nothing to compare with yet
    ],
)
async def test_each_figure_has_its_bound(tmp_path: Path, figures: dict, failed: list[str]):
    store = await installation()

    released = await promote(store, tmp_path, saved(tmp_path, **figures), override=ADA)

    assert [each.name for each in released.checks if not each.passed] == failed


@pytest.mark.parametrize(("low", "passed"), [(0.66, False), (0.68, True)])
async def test_a_model_is_refused_only_when_it_ranks_worse_beyond_chance(tmp_path: Path, low: float, passed: bool):
    store = await installation()
    await promote(store, tmp_path, saved(tmp_path))
    candidate = saved(tmp_path, 0.1, auc=low, auc_interval=(low - 0.02, low + 0.02))

    released = await promote(store, tmp_path, candidate, override=ADA)

    assert next(each.passed for each in released.checks if each.name == "ranking") is passed


async def test_a_model_of_another_business_does_not_fit_the_strategy(tmp_path: Path):
    foreign = FILES["schema.yaml"].replace("income:", "salary:")
    rules = {path: text.replace("customer.income", "customer.salary") for path, text in FILES.items() if "act" in path}
    store = await installation(**rules, **{"schema.yaml": foreign})

    with pytest.raises(ReleaseRefused, match=r"customer\.income"):
        await promote(store, tmp_path, saved(tmp_path))


async def test_a_model_that_knows_no_increments_cannot_rank_by_them(tmp_path: Path):
    store = await installation(
        **{"strategy.yaml": FILES["strategy.yaml"].replace("ranking: gross", "ranking: incremental")}
    )

    with pytest.raises(ReleaseRefused, match="what acting adds"):
        await promote(store, tmp_path, saved(tmp_path))


async def test_a_damaged_artifact_cannot_be_overridden(tmp_path: Path):
    store = await installation()
    version = saved(tmp_path)
    (tmp_path / version / "weights.npz").write_bytes(b"damaged")

    with pytest.raises(ModelRefused):
        await promote(store, tmp_path, version, override=ADA)

    assert await pointers_of(store) == Pointers()


async def test_a_sound_model_can_replace_one_that_was_damaged_since(tmp_path: Path):
    store = await installation()
    damaged, sound = saved(tmp_path), saved(tmp_path, 0.1)
    await promote(store, tmp_path, damaged)
    (tmp_path / damaged / "weights.npz").write_bytes(b"damaged")

    await promote(store, tmp_path, sound)

    assert (await pointers_of(store)).model == sound


async def test_a_shadow_and_a_challenger_are_named_stopped_and_logged(tmp_path: Path):
    store = await installation()
    first, second = saved(tmp_path), saved(tmp_path, 0.1)
    await promote(store, tmp_path, first)

    await start_shadow(store, tmp_path, second[:9])
    await start_challenger(store, tmp_path, second[:9], share=0.2)
    named = await pointers_of(store)
    stopped = await stop_shadow(store), await stop_challenger(store)

    assert named.shadow == second and named.challenger is not None
    assert (named.challenger.version, named.challenger.share) == (second, 0.2)
    assert stopped == (second, second)
    assert await pointers_of(store) == Pointers(first)
    assert [each.how for each in await promotions(store)][1:] == [
        "shadow", "challenger", "shadow-stop", "challenger-stop",
    ]  # fmt: skip
    assert (await stop_shadow(store), await stop_challenger(store)) == ("", "")


async def test_a_challenger_that_is_promoted_challenges_no_more(tmp_path: Path):
    store = await installation()
    first, second = saved(tmp_path), saved(tmp_path, 0.1)
    await promote(store, tmp_path, first)
    await start_challenger(store, tmp_path, second, share=0.5)

    await promote(store, tmp_path, second)

    assert await pointers_of(store) == Pointers(second)


async def test_the_current_model_is_not_tried_against_itself(tmp_path: Path):
    store, version = await installation(), saved(tmp_path)
    await promote(store, tmp_path, version)
    before = await pointers_of(store)

    with pytest.raises(ModelRefused, match="decides already"):
        await start_shadow(store, tmp_path, version[:8])
    with pytest.raises(ModelRefused, match="decides already"):
        await start_challenger(store, tmp_path, version[:8], share=0.1)

    assert await pointers_of(store) == before


async def test_a_challenger_passes_the_same_gate(tmp_path: Path):
    store = await installation()

    with pytest.raises(ReleaseRefused):
        await start_challenger(store, tmp_path, saved(tmp_path, positives=10), share=0.1)

    assert (await pointers_of(store)).challenger is None


async def test_a_model_that_is_slow_to_score_may_neither_decide_nor_shadow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = await installation()
    monkeypatch.setattr(release, "serving_cost_us", lambda model: 201.0)

    with pytest.raises(ReleaseRefused, match="serving cost: 201 µs"):
        await promote(store, tmp_path, saved(tmp_path))
    with pytest.raises(ModelRefused, match="serving cost: 201 µs"):
        await start_shadow(store, tmp_path, saved(tmp_path))

    assert await pointers_of(store) == Pointers()


async def test_an_entry_that_cannot_be_read_is_said_to_be_damaged():
    store = MemoryStore()
    await store.put("current", "challenger", json.dumps({"version": 7}).encode())

    with pytest.raises(RegistryDamaged):
        await pointers_of(store)
