"""Writer: a believable strategy with customers and a past, of any size, for load tests and experiments.

Everything follows from the size and the seed, byte by byte. What is written is what an author and a bank would deliver:
a strategy directory that `nextbest check` finds nothing wrong with, and beside it, in generated/, customers, a table of
past contacts to train on, and earlier interactions. strategy.py and actions.py say what the bank offers, attributes.py
and customers.py who the customers are, contacts.py what happened and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decisioning.errors import NextbestError
from decisioning.simulated.actions import action_files, places
from decisioning.simulated.attributes import attributes
from decisioning.simulated.contacts import contacts, mapping
from decisioning.simulated.customers import customer_rows, interactions
from decisioning.simulated.strategy import strategy_files
from decisioning.simulated.yaml_lines import yaml_text

README = """# A simulated bank

Written by `{command}`. Nothing in it is real. `nextbest run` serves it; `generated/` holds its customers, the
contacts of the past that models are trained on, and what customers did before (one interaction a line, with its age).
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything."""

    actions: int = 200
    attributes: int = 30
    customers: int = 10_000
    interactions: int = 0  # per customer
    seed: int = 7
    form: str = "linear"  # of the model that training finds: linear or boosted
    placements: int = 3  # on web pages

    @property
    def command(self) -> str:
        """The command that writes the same."""
        return (
            f"nextbest generate DIR --actions {self.actions} --attributes {self.attributes} "
            f"--customers {self.customers} --interactions {self.interactions} --seed {self.seed} --model {self.form} "
            f"--placements {self.placements}"
        )


def write(directory: Path, size: Size) -> None:
    """Write strategy, customers and past below a directory that is new or empty. Raises NextbestError."""
    if directory.exists() and any(directory.iterdir()):
        raise NextbestError(f"{directory} is not empty. Name a new directory, or remove what is in it.")
    write_strategy(directory, size)
    known, all_places, generated = attributes(size.attributes), places(size.actions), directory / "generated"
    past = contacts(size.seed, all_places, known, customers=size.customers, form=size.form)
    done = interactions(size.seed, size.customers, size.interactions, all_places)
    _put(generated / "customers.jsonl", _json_lines(customer_rows(size.seed, size.customers, known)))
    _put(generated / "history.jsonl", _json_lines(past))
    _put(generated / "interactions.jsonl", _json_lines(done))


def write_strategy(directory: Path, size: Size) -> None:
    """Write what an author would, and how the table of past contacts reads."""
    known = attributes(size.attributes)
    actions = action_files(size.seed, places(size.actions), known, placements=size.placements)
    for path, tree in (*strategy_files(known, placements=size.placements), *actions):
        _put(directory / path, [yaml_text(tree, f"Simulated, seed {size.seed}.")])
    # Read by training and no part of the strategy, but `nextbest run` looks for it here.
    _put(directory / "mapping.yaml", [yaml_text(mapping(known), "How the columns of generated/history.jsonl read.")])
    _put(directory / "README.md", [README.format(command=size.command)])


def _put(path: Path, texts: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(texts)


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
