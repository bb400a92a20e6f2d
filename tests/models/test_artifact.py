"""Artifacts: what was saved is what is loaded, or nothing is."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import ArtifactFaulty, load_artifact, load_report, save_artifact
from models.propensity import PropensityModel
from models.train import TrainedModel
from tests.models.forests import boosted, with_uplifts
from tests.models.tables import ACTIONS, Table


@pytest.fixture(scope="module")
def full(trained: TrainedModel) -> PropensityModel:
    """A model with everything that an artifact may hold."""
    return with_uplifts(boosted(trained.model), "ordered")


@pytest.fixture(scope="module")
def original(full: PropensityModel, trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return folder / save_artifact(full, folder, report=asdict(trained.report))


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    """A copy of one's own to damage."""
    return shutil.copytree(original, tmp_path / original.name)


@pytest.mark.parametrize("kind", ["linear", "boosted", "constant", "ordered"])
def test_a_loaded_model_is_the_saved_one(trained: TrainedModel, contacts: Table, tmp_path: Path, kind: str) -> None:
    model = trained.model if kind == "linear" else boosted(trained.model)
    model = with_uplifts(model, kind) if kind in ("constant", "ordered") else model

    loaded = load_artifact(tmp_path / save_artifact(model, tmp_path))

    paired, original = loaded.paired(ACTIONS), model.paired(ACTIONS)
    assert loaded.version == model.version
    assert (loaded.actions, loaded.features, loaded.evidence) == (model.actions, model.features, model.evidence)
    for index in range(50):
        for here, there in zip(paired.scores(contacts.row(index)), original.scores(contacts.row(index)), strict=True):
            assert np.array_equal(here, there)


def test_the_report_travels_with_the_model(trained: TrainedModel, saved: Path, tmp_path: Path) -> None:
    assert load_report(saved) == json.loads(json.dumps(asdict(trained.report)))
    assert load_report(tmp_path) == {}


def test_saving_twice_keeps_one_directory_and_leaves_nothing_unfinished(full: PropensityModel, saved: Path) -> None:
    again = save_artifact(full, saved.parent)

    assert [path.name for path in saved.parent.iterdir()] == [again]


def test_saving_again_tells_readers_what_is_new_and_changes_nothing_that_decides(
    full: PropensityModel, saved: Path
) -> None:
    deciding = {path.name: path.read_bytes() for path in saved.iterdir() if path.name != "report.json"}

    save_artifact(full, saved.parent, report={"drift": {"previous": "another"}}, pages={"card.md": "# compared"})

    assert load_report(saved) == {"drift": {"previous": "another"}}
    assert (saved / "card.md").read_text() == "# compared"
    assert {name: (saved / name).read_bytes() for name in deciding} == deciding
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    save_artifact(full, saved.parent)
    assert load_report(saved)["drift"] == {"previous": "another"}


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


def rewritten(folder: Path, arrays: dict[str, Any]) -> None:
    """Other arrays under a matching checksum: what somebody would write who knows the format."""
    np.savez(folder / "weights.npz", **arrays)
    digest = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    changed(lambda header: header.update(weights_sha256=digest))(folder)


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
    "half a row": (changed(lambda header: header["evidence"].update({ACTIONS[0]: 1.5})), "a number of rows"),
    "two prior variances": (changed(lambda header: header["prior_variances"].update(slope=[1, 1])), "not three"),
    "no prior variances": (changed(lambda header: header.pop("prior_variances")), "do not describe a model"),
    "a negative variance": (changed(lambda header: header["prior_variances"].update(slope=[1, 1, -1])), "not three"),
    "uplifts disowned": (changed(lambda header: header.update(incremental=None)), "it was changed"),
    "uplifts in another unit": (changed(lambda header: header["incremental"].update(unit="clicks")), "'clicks'"),
    "another scale of uplifts": (changed(lambda header: header["incremental"].update(scale=9.0)), "it was changed"),
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


ARRAY_NAMES = [
    "means",
    "variances",
    *(f"forest.{name}" for name in ("feature", "threshold", "ruled_out", "leaf_values", "standard")),
    *(f"incremental.{name}" for name in ("effects", "codes")),
    *(f"incremental.forest.{name}" for name in ("feature", "threshold", "ruled_out", "leaf_values", "standard")),
]
MANIPULATIONS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "gone": lambda array: None,
    "another type": lambda array: array.astype(np.float32),
    "another shape": lambda array: array[..., :-1],
    "another order": lambda array: np.ascontiguousarray(array[::-1]),
    "a number moved a little": lambda array: array + (np.indices(array.shape).sum(axis=0) == 0).astype(array.dtype),
    "out of range": lambda array: array + array.dtype.type(2**31),
    "pickled": lambda array: np.array([object()], dtype=object),
}


def test_every_array_of_an_artifact_is_tried(saved: Path) -> None:
    assert sorted(np.load(saved / "weights.npz").files) == sorted(ARRAY_NAMES)


@pytest.mark.parametrize("name", ARRAY_NAMES)
@pytest.mark.parametrize("manipulate", MANIPULATIONS.values(), ids=MANIPULATIONS.keys())
def test_an_array_changed_under_a_matching_checksum_is_refused(
    saved: Path, name: str, manipulate: Callable[[np.ndarray], np.ndarray | None]
) -> None:
    arrays = dict(np.load(saved / "weights.npz"))
    manipulated = manipulate(arrays.pop(name))
    rewritten(saved, arrays if manipulated is None else arrays | {name: manipulated})

    with pytest.raises(ArtifactFaulty) as refused:
        load_artifact(saved)

    assert "Copy or train it again" in str(refused.value)


def test_an_index_beyond_its_array_is_named(saved: Path) -> None:
    arrays = dict(np.load(saved / "weights.npz"))
    arrays["forest.feature"][0, 0] = 10_000
    rewritten(saved, arrays)

    with pytest.raises(ArtifactFaulty, match="reads a column beyond the"):
        load_artifact(saved)


def test_arrays_of_another_model_are_refused(trained: TrainedModel, saved: Path) -> None:
    other = saved.parent / save_artifact(trained.model, saved.parent)
    (saved / "weights.npz").write_bytes((other / "weights.npz").read_bytes())

    with pytest.raises(ArtifactFaulty, match="not the file that was saved"):
        load_artifact(saved)


def test_a_model_that_differs_from_its_golden_rows_is_not_saved(full: PropensityModel, tmp_path: Path) -> None:
    model = full
    golden = [replace(row, propensity=row.propensity + 2e-9) for row in model.golden]

    with pytest.raises(ArtifactFaulty, match="away from what the training library"):
        save_artifact(
            PropensityModel(
                model.encoder, model.forest, model.posterior, model.prior_variances, golden, model.evidence
            ),
            tmp_path,
        )

    assert list(tmp_path.iterdir()) == []
