"""Artifacts: a model on disk, named by what it decides.

A directory per version: model.json (features, evidence, golden rows) and weights.npz (posterior, forest, uplifts)
decide; report.json and the card are for readers. Text and plain arrays only, nothing that runs when it is read.
Everything is checked before a model is handed out: a worker that refuses to start is cheap, one that quietly serves a
half-copied file is not.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactFaulty, ModelError
from models.features import Coded, FeatureEncoder, Learnt, Numeric
from models.forest import Forest
from models.hierarchy import row_keys_of
from models.incremental import IncrementalModel
from models.propensity import GoldenRow, Posterior, PriorVariances, PropensityModel, arrays_of, describe

FORMAT = 2
PARITY_MAX = 1e-9  # most a golden propensity may differ: what rounding alone can do
NO_PAGES: Mapping[str, str] = MappingProxyType({})
MODEL_FILE, WEIGHTS_FILE, REPORT_FILE = "model.json", "weights.npz", "report.json"


def save(
    model: PropensityModel,
    directory: Path | str,
    *,
    report: Mapping[str, Any] | None = None,
    pages: Mapping[str, str] = NO_PAGES,
) -> str:
    """Write the model below directory/<version>, in one step, and return the version.

    A version already there is kept, and what is for readers is written anew: it may tell of another comparison.

    report  for readers and for the release gate; pages, by file name, for readers: neither decides
    Raises ArtifactFaulty, and writes nothing, when the model does not reproduce its golden rows.
    """
    _refuse_parity_gap(model)
    target = Path(directory) / model.version
    told = _told(report, pages)
    if target.exists():
        _rewrite(target, told)
        return model.version
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=target.parent))
    try:
        _write(model, unfinished)
        for name, text in told.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        unfinished.chmod(0o755)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return model.version


def load(path: Path | str) -> PropensityModel:
    """The model in directory/<version>.

    Raises ArtifactFaulty for anything missing, damaged, changed, of another format, or computing differently here.
    """
    folder = Path(path).resolve()
    header = _header(folder)
    arrays = _arrays(folder, header)
    try:
        model = _model(header, arrays)
    except (ModelError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise _faulty(folder, f"{MODEL_FILE} and {WEIGHTS_FILE} do not describe a model: {error}") from error
    if model.version != folder.name:
        raise _faulty(folder, f"its content is version {model.version}; it was changed after it was saved")
    _refuse_parity_gap(model)
    return model


def load_report(path: Path | str) -> dict[str, Any]:
    """The training report saved with a version, empty when there was none."""
    file = Path(path) / REPORT_FILE
    if not file.exists():
        return {}
    return _json_object(file)


def _told(report: Mapping[str, Any] | None, pages: Mapping[str, str]) -> dict[str, str]:
    """What is for readers, by file name."""
    told = {} if report is None else {REPORT_FILE: json.dumps(report, indent=1, allow_nan=False)}
    return told | dict(pages)


def _rewrite(folder: Path, told: Mapping[str, str]) -> None:
    """Replace files of a version: each in one step, since a server may be reading them."""
    for name, text in told.items():
        unfinished = folder.with_name(f".unfinished-{folder.name}-{name}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / name)


def _write(model: PropensityModel, folder: Path) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays_of(model))
    (folder / WEIGHTS_FILE).write_bytes(packed.getvalue())
    header = {
        "format": FORMAT,
        **describe(model),
        "golden": [asdict(row) for row in model.golden],
        "weights_sha256": hashlib.sha256(packed.getvalue()).hexdigest(),
    }
    (folder / MODEL_FILE).write_text(json.dumps(header, sort_keys=True, indent=1, allow_nan=False), encoding="utf-8")


def _header(folder: Path) -> dict[str, Any]:
    header = _json_object(folder / MODEL_FILE)
    if header.get("format") != FORMAT:
        raise _faulty(folder, f"format {header.get('format')!r} is not {FORMAT}, the one read here")
    return header


def _json_object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _faulty(file.parent, f"{file.name} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise _faulty(file.parent, f"{file.name} is not a JSON object")
    return content


def _arrays(folder: Path, header: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    try:
        packed = (folder / WEIGHTS_FILE).read_bytes()
        if hashlib.sha256(packed).hexdigest() != header.get("weights_sha256"):
            raise _faulty(folder, f"{WEIGHTS_FILE} is not the file that was saved")
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _faulty(folder, f"{WEIGHTS_FILE} cannot be read: {error}") from error


def _model(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> PropensityModel:
    evidence = header["evidence"]
    if not all(isinstance(count, int) for count in evidence.values()):
        raise ValueError("evidence must be a number of rows per action")
    prior_variances = {kind: tuple(numbers) for kind, numbers in header["prior_variances"].items()}
    forest, described = _within("forest.", arrays), header["incremental"]
    uplifts = described and IncrementalModel.from_arrays(described, _within("incremental.", arrays))
    return PropensityModel(
        FeatureEncoder([_feature(raw) for raw in header["features"]]),
        Forest.from_arrays(forest) if forest else None,
        Posterior(row_keys_of(evidence), arrays["means"], arrays["variances"]),
        PriorVariances(**prior_variances),
        golden=[GoldenRow(**raw) for raw in header["golden"]],
        evidence=evidence,
        incremental=uplifts,
    )


def _within(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _feature(raw: Mapping[str, Any]) -> Learnt:
    fields = dict(raw)
    if not isinstance(fields.get("path"), str):
        raise ValueError(f"a feature without a path: {raw}")
    if fields.get("kind") == "numeric":
        del fields["kind"]
        return _checked_numeric(Numeric(**fields | {"knots": tuple(fields["knots"])}))
    if fields.get("kind") in ("categorical", "flag"):
        return _checked_coded(Coded(**fields | {"levels": tuple(fields["levels"])}))
    raise ValueError(f"{fields['path']}: kind {fields.get('kind')!r} is unknown")


def _checked_numeric(feature: Numeric) -> Numeric:
    numbers = (feature.median, feature.mean, feature.sd, *feature.knots)
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        raise ValueError(f"{feature.path}: median, mean, sd and knots must be finite numbers")
    if not isinstance(feature.logarithmic, bool) or feature.sd <= 0.0:
        raise ValueError(f"{feature.path}: logarithmic must be true or false and sd positive")
    if any(before >= after for before, after in zip(feature.knots, feature.knots[1:], strict=False)):
        raise ValueError(f"{feature.path}: knots must ascend")
    return feature


def _checked_coded(feature: Coded) -> Coded:
    if not all(isinstance(level, (str, int)) for level in feature.levels):
        raise ValueError(f"{feature.path}: levels must be texts, whole numbers or booleans")
    if len(set(feature.levels)) < len(feature.levels):
        raise ValueError(f"{feature.path}: a level is there twice")
    return feature


def _refuse_parity_gap(model: PropensityModel) -> None:
    gap = model.parity_gap()
    if not gap <= PARITY_MAX:  # written so that NaN is refused
        raise ArtifactFaulty(
            f"model {model.version}: its golden rows come out up to {gap:.2g} away from what the training "
            f"library computed (at most {PARITY_MAX:g}). Train it again with the versions installed here."
        )


def _faulty(folder: Path, what: str) -> ArtifactFaulty:
    return ArtifactFaulty(f"model {folder.name} in {folder.parent}: {what}. Copy or train it again.")
