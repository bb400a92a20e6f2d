"""Artifacts: what was saved is what is loaded, or nothing is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import ArtifactFaulty, load_artifact, load_report, save_artifact
from models.propensity import PropensityModel
from models.train import TrainedModel
from tests.models.tables import ACTIONS, Table


@pytest.fixture
def saved(trained: TrainedModel, tmp_path: Path) -> Path:
    return tmp_path / save_artifact(trained.model, tmp_path, report=asdict(trained.report))


def test_a_loaded_model_is_the_saved_one(trained: TrainedModel, contacts: Table, saved: Path) -> None:
    loaded = load_artifact(saved)

    paired, original = loaded.paired(ACTIONS), trained.model.paired(ACTIONS)
    assert loaded.version == trained.model.version == saved.name
    assert loaded.actions == trained.model.actions
    assert loaded.features == trained.model.features
    for index in range(50):
        values = contacts.row(index)
        for here, there in zip(paired.scores(values)[:2], original.scores(values)[:2], strict=True):
            assert here.tolist() == there.tolist()


def test_the_report_travels_with_the_model(trained: TrainedModel, saved: Path, tmp_path: Path) -> None:
    assert load_report(saved) == json.loads(json.dumps(asdict(trained.report)))
    assert load_report(tmp_path) == {}


def test_saving_twice_keeps_one_directory_and_leaves_nothing_unfinished(trained: TrainedModel, saved: Path) -> None:
    again = save_artifact(trained.model, saved.parent)

    assert [path.name for path in saved.parent.iterdir()] == [again]


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        header = json.loads((folder / "model.json").read_text())
        change(header)
        (folder / "model.json").write_text(json.dumps(header))

    return apply


def truncated(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-20])


def rename_action(header: dict[str, Any]) -> None:
    header["evidence"]["grow/cards/bronze"] = header["evidence"].pop("grow/cards/gold")


def other_weights(folder: Path) -> None:
    arrays = dict(np.load(folder / "weights.npz"))
    np.savez(folder / "weights.npz", **(arrays | {"means": arrays["means"] * 1.01}))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no model.json": (lambda folder: (folder / "model.json").unlink(), "model.json cannot be read"),
    "truncated model.json": (truncated("model.json"), "model.json cannot be read"),
    "no weights": (lambda folder: (folder / "weights.npz").unlink(), "weights.npz cannot be read"),
    "truncated weights": (truncated("weights.npz"), "not the file that was saved"),
    "other weights": (other_weights, "not the file that was saved"),
    "another format": (changed(lambda header: header.update(format=1)), "format 1 is not 2"),
    "a renamed action": (changed(rename_action), "it was changed after it was saved"),
    "an action too few": (changed(lambda header: header["evidence"].pop("grow/cards/gold")), "do not describe a model"),
    "an action that is none": (changed(lambda header: header["evidence"].update(x=1)), "do not describe a model"),
    "another median": (changed(lambda header: header["features"][0].update(median=1.5)), "it was changed"),
    "an endless knot": (changed(lambda header: header["features"][0].update(knots=[float("inf")])), "finite numbers"),
    "falling knots": (changed(lambda header: header["features"][0].update(knots=[2, 1])), "knots must ascend"),
    "no spread": (changed(lambda header: header["features"][0].update(sd=0)), "sd positive"),
    "a strange field": (changed(lambda header: header["features"][0].update(run="rm")), "do not describe a model"),
    "a strange kind": (changed(lambda header: header["features"][0].update(kind="tree")), "kind 'tree' is unknown"),
    "no features": (changed(lambda header: header.pop("features")), "do not describe a model"),
    "golden rows gone": (changed(lambda header: header.update(golden=[])), "away from what the training library"),
    "a golden row changed": (
        changed(lambda header: header["golden"][3].update(propensity=0.5)),
        "away from what the training library",
    ),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_artifact_is_refused_in_plain_words(saved: Path, damage: Callable[[Path], Any], said: str) -> None:
    damage(saved)

    with pytest.raises(ArtifactFaulty) as refused:
        load_artifact(saved)

    assert said in str(refused.value)


def test_an_artifact_under_another_name_is_refused(saved: Path) -> None:
    renamed = saved.rename(saved.with_name("0" * 64))

    with pytest.raises(ArtifactFaulty, match="it was changed after it was saved"):
        load_artifact(renamed)


def test_pickled_weights_are_not_opened(saved: Path) -> None:
    np.savez(saved / "weights.npz", means=np.array([object()], dtype=object))
    digest = hashlib.sha256((saved / "weights.npz").read_bytes()).hexdigest()
    changed(lambda header: header.update(weights_sha256=digest))(saved)

    with pytest.raises(ArtifactFaulty, match="cannot be read"):
        load_artifact(saved)


def test_a_model_that_differs_from_its_golden_rows_is_not_saved(trained: TrainedModel, tmp_path: Path) -> None:
    model = trained.model
    golden = [replace(row, propensity=row.propensity + 2e-9) for row in model.golden]

    with pytest.raises(ArtifactFaulty, match="away from what the training library"):
        save_artifact(
            PropensityModel(
                model.encoder, model.forest, model.posterior, model.prior_variances, golden, model.evidence
            ),
            tmp_path,
        )

    assert list(tmp_path.iterdir()) == []
