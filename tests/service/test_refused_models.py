"""Artifacts damaged on disk and promoted all the same: refused, logged and counted, while the old model decides on."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from decisioning.store.redis import connect
from tests.api.models import saved
from tests.service.conftest import KEY, Installation
from tests.service.test_service import ask, wait_for

pytestmark = pytest.mark.proof


def truncated_weights(folder: Path) -> None:
    packed = folder / "weights.npz"
    packed.write_bytes(packed.read_bytes()[:-1])


def tampered_weights(folder: Path) -> None:
    arrays = dict(np.load(folder / "weights.npz"))
    np.savez(folder / "weights.npz", **(arrays | {"means": arrays["means"] * 2.0}))


def tampered_header(folder: Path) -> None:
    header = json.loads((folder / "model.json").read_text())
    header["features"][0]["path"] = "customer.age"
    (folder / "model.json").write_text(json.dumps(header))


def mismatched(folder: Path) -> None:
    """Sound in itself, but under the name of another version."""
    other = saved(folder.parent, 0.9)
    shutil.copytree(folder.parent / other, folder, dirs_exist_ok=True)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncated_weights, "weights.npz is not the file that was saved"),
    "tampered weights": (tampered_weights, "weights.npz is not the file that was saved"),
    "tampered header": (tampered_header, "it was changed after it was saved"),
    "mismatched": (mismatched, "it was changed after it was saved"),
    "half copied": (lambda folder: (folder / "weights.npz").unlink(), "weights.npz cannot be read"),
}


def test_a_damaged_artifact_is_refused_and_the_old_model_goes_on_deciding(
    installation: Installation, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    installation.environment["NEXTBEST_MODELS_DIR"] = str(models)
    sound = saved(models, 0.0)
    asyncio.run(point_at(installation.url, sound))
    _, base = installation.serve()
    with httpx.Client(base_url=base, headers=KEY) as http:
        for number, (damage, _) in enumerate(DAMAGES.values(), start=1):
            version = saved(models, number / 100)
            damage(models / version)
            asyncio.run(point_at(installation.url, version))
            counted = f'deployments_total{{part="model",result="refused"}} {number}.0'
            wait_for(lambda counted=counted: counted in http.get("/metrics").text)

            answers = [ask(http, person) for person in range(1, 21)]

            assert {answer["versions"]["model"] for answer in answers} == {sound}
            assert not any(answer["degraded"] for answer in answers)
        sound_again = saved(models, 0.5)
        asyncio.run(point_at(installation.url, sound_again))
        wait_for(lambda: ask(http, 1)["versions"]["model"] == sound_again)

    logged = capfd.readouterr().err
    print(f"\n{len(DAMAGES)} of {len(DAMAGES)} refused: {', '.join(DAMAGES)}")
    assert [said for _, said in DAMAGES.values() if said not in logged] == []


async def point_at(url: str, version: str) -> None:
    """Promote as from a machine where the artifact is whole: the gate is not asked."""
    store = connect(url, deadline_ms=5000)
    await store.put("current", "model", version.encode())
    await store.close()
