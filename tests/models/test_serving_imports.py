"""A serving process never pays for the training libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from models import save_artifact
from models.train import TrainedModel

ROOT = Path(__file__).parents[2]
SERVE = """
import sys
import models
model = models.load_artifact(sys.argv[1])
model.paired(model.actions).scores({"customer.age": 44})
print(*sorted({"sklearn", "scipy", "pandas"} & set(sys.modules)))
"""


def test_loading_and_scoring_imports_no_training_library(trained: TrainedModel, tmp_path: Path) -> None:
    artifact = tmp_path / save_artifact(trained.model, tmp_path)

    words = [sys.executable, "-c", SERVE, str(artifact)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
