"""The container image, as far as no container engine is needed: its text is read, its install steps are run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from api.cli.main import commands

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text()
INSTALLED = "/opt/nextbest"


class Instruction(NamedTuple):
    """One line of a Dockerfile, continuations joined."""

    word: str
    text: str


def stages(dockerfile: str) -> list[list[Instruction]]:
    """The instructions of each stage, each beginning with its FROM."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#")]
    found: list[list[Instruction]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, text = line.split(maxsplit=1)
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, " ".join(text.split())))
    return found


def texts(stage: list[Instruction], word: str) -> list[str]:
    return [text for each, text in stage if each == word]


@pytest.fixture(scope="module")
def image() -> list[list[Instruction]]:
    return stages((ROOT / "Dockerfile").read_text())


def test_the_last_stage_is_slim_unprivileged_and_watched(image: list[list[Instruction]]) -> None:
    last = image[-1]

    assert len(image) == 2
    assert texts(last, "FROM") == ["python:3.13-slim"]
    assert texts(last, "USER") == ["nextbest"]
    assert "/healthz" in texts(last, "HEALTHCHECK")[0]
    assert texts(last, "CMD")[0].startswith('["nextbest", "serve"')


def test_the_last_stage_installs_nothing_and_has_no_installer(image: list[list[Instruction]]) -> None:
    steps = " ".join(texts(image[-1], "RUN"))

    assert not re.search(r"apt|gcc|make|\binstall (?!--directory)", steps)
    assert "pip uninstall --yes pip" in steps


def test_everything_installed_is_checked_against_the_lock(image: list[list[Instruction]]) -> None:
    installs = [step for step in texts(image[0], "RUN") if " install " in step]

    assert all("--require-hashes" in step or ("--no-deps" in step and "--no-index" in step) for step in installs)
    assert installs


def test_what_is_copied_exists_and_is_not_ignored(image: list[list[Instruction]]) -> None:
    sources = [word for text in texts(image[0], "COPY") for word in text.split()[:-1]]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert set(sources) == allowed


def test_the_composition_has_two_replicas_one_worker_and_a_store_that_keeps_its_data() -> None:
    services = yaml.safe_load(COMPOSE)["services"]

    assert services["api"]["deploy"]["replicas"] == 2
    assert services["worker"]["command"] == ["nextbest", "worker"]
    assert services["store"]["command"][1:3] == ["--appendonly", "yes"]
    for name in ("api", "worker"):
        assert services[name]["environment"].keys() == {
            "NEXTBEST_REDIS_URL",
            "NEXTBEST_HISTORY_DIR",
            "NEXTBEST_MODELS_DIR",
        }


def test_the_composition_shows_every_step_to_readiness_as_the_command_line_takes_it(tmp_path: Path) -> None:
    bank = shutil.copytree(ROOT / "examples/retail_bank", tmp_path / "bank", ignore=shutil.ignore_patterns("generated"))
    (bank / "generated").mkdir()
    for table in ("customers.jsonl", "history.parquet"):
        (bank / "generated" / table).touch()
    shown = re.findall(r"^# +docker compose run (.*?) worker nextbest (.*)$", COMPOSE, re.M)

    assert [text.split()[0] for _, text in shown] == ["publish", "load", "train", "keys"]
    assert "--promote" in shown[2][1]
    for options, text in shown:
        assert ("--volume ./examples/retail_bank:/strategy:ro" in options) == ("/strategy" in text)
        understood(text.replace("/strategy", str(bank)).split())


def understood(words: list[str]) -> None:
    """Let the command line parse the words, and no more. Raises click's UsageError where it cannot."""
    command: click.Command | None = commands
    while isinstance(command, click.Group):
        _, command, words = command.resolve_command(click.Context(command), words)
    assert command is not None
    command.make_context(command.name, words)


@pytest.mark.proof
def test_the_install_steps_work_in_a_fresh_environment(image: list[list[Instruction]], tmp_path: Path) -> None:
    source, installed = tmp_path / "src", tmp_path / "nextbest"
    source.mkdir()
    for word, text in image[0]:
        if word == "COPY":
            copy(text, source)
        elif word == "RUN":
            run(text.replace(INSTALLED, str(installed)), source)

    answer = run(f"{installed}/bin/nextbest --help", tmp_path)

    assert "serve" in answer
    assert "worker" in answer
    assert not (installed / "bin" / "hatchling").exists()


def copy(text: str, target: Path) -> None:
    *sources, destination = text.split()
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target / destination, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, target / destination)


def run(step: str, folder: Path) -> str:
    """Run one step as the engine would: by sh, with nothing of this environment but an interpreter that has pip."""
    base = Path(sys.base_prefix) / "bin" / "python3"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    command = ["sh", "-c", f'python() {{ {shlex.quote(str(base))} "$@"; }}; {step}']
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
    return done.stdout
