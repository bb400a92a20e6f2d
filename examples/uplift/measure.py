"""What is choosing whom to contact worth? Out of fold, on randomised rows. Prints a table, then one JSON object.

    python examples/uplift/measure.py --mapping examples/uplift/starbucks.yaml waves.csv --cost 0 --cost 2 --cost 4

Persons are dealt into folds; the people of each fold are chosen for by uplifts learnt, with all their choices of form,
scale and best action, on the other folds, as `nextbest train` learns them. Values are doubly robust, differences paired
and by person. Exit code 1 when a bound given on the command line is not met.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.history.mapping import read_mapping
from decisioning.history.training import NOTHING, TrainingTable, read_training
from models import Feature
from models.features import learn
from models.policy_report import parts_in_top
from models.policy_value import Estimate, mean_by_person, ratio_by_person
from models.train_incremental import train_incremental

FOLD_COUNT = 5
TOP_SHARES = (0.1, 0.3, 0.5)
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass
class Judged:
    """Per row, from models that saw nobody of its fold."""

    robust: Floats  # [n, 1 + actions] doubly robust outcome of nothing and of each action
    uplifts: Floats  # [n, actions]
    best: Rows  # [n] the single best action of the other folds
    persons: Rows
    forms: list[str]
    reasons: list[str]


def main() -> None:
    arguments = parsed()
    table = read_training([arguments.table], read_mapping(arguments.mapping))
    outcomes = table.labels.astype(np.float64) if table.value is None else table.value
    judged = judge(table, outcomes)
    found = {
        "rows": len(outcomes),
        "persons": int(judged.persons.max()) + 1,
        "outcome": "label" if table.value is None else "value",
        "forms": dict(Counter(judged.forms)),
        "reason": judged.reasons[0],
        "differences": {f"{cost:g}": policy(judged, cost) for cost in arguments.cost},
        "top_gains": top_gains(judged),
    }
    missed = missed_bounds(found, arguments)
    print(as_text(found))
    print(json.dumps(found | {"missed": missed}, indent=1))
    sys.exit(1 if missed else 0)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Value the choice of whom to contact, out of fold.")
    parser.add_argument("table", type=Path)
    parser.add_argument("--mapping", type=Path, required=True)
    parser.add_argument("--cost", type=float, action="append", default=[], help="contact cost; may be repeated")
    parser.add_argument(
        "--at-least", nargs=2, type=float, action="append", default=[], metavar=("COST", "ERRORS"),
        help="the difference to the best single action at this cost must reach so many standard errors",
    )  # fmt: skip
    parser.add_argument("--top-30", type=float, help="least part of the gain that the first 30 %% must hold")
    parser.add_argument("--form", help="the form that every fold must choose")
    arguments = parser.parse_args()
    arguments.cost = sorted({0.0, *arguments.cost, *(cost for cost, _ in arguments.at_least)})
    return arguments


def judge(table: TrainingTable, outcomes: Floats) -> Judged:
    """Learn on four folds, judge on the fifth, five times."""
    actions = sorted(set(table.actions) - {NOTHING})
    position = {key: index for index, key in enumerate((NOTHING, *actions))}
    taken = np.array([position[action] for action in table.actions])
    persons = np.unique(table.persons, return_inverse=True)[1].astype(np.int64)
    folds = (np.random.default_rng(7).permutation(persons.max() + 1) % FOLD_COUNT)[persons]
    judged = Judged(
        robust=np.empty((len(taken), len(position))),
        uplifts=np.empty((len(taken), len(actions))),
        best=np.empty(len(taken), dtype=np.int64),
        persons=persons,
        forms=[],
        reasons=[],
    )
    for fold in range(FOLD_COUNT):
        seen, rest = table.where(folds != fold), np.flatnonzero(folds == fold)
        encoder = learn([Feature(path, kind) for path, kind in table.kinds.items()], seen.columns)
        trained = train_incremental(
            seen.columns,
            encoder=encoder,
            actions=seen.actions,
            outcomes=outcomes[folds != fold],
            probabilities=seen.logging_probability,
            persons=seen.persons,
            unit="label" if table.value is None else "value",
        )
        model = trained.model
        encoded = encoder.encode_table(table.where(folds == fold).columns)
        judged.uplifts[rest] = model.uplifts_of_table(encoded, model.rows_for(actions))
        of_nothing = model.outcomes_of_nothing(encoded)[:, None]
        judged.robust[rest] = np.hstack([of_nothing, of_nothing + judged.uplifts[rest]])
        judged.best[rest] = actions.index(model.best_action)
        judged.forms.append(trained.report.form)
        judged.reasons.append(trained.report.reason)
    rows = np.arange(len(taken))
    judged.robust[rows, taken] += (outcomes - judged.robust[rows, taken]) / table.logging_probability
    return judged


def policy(judged: Judged, cost: float) -> dict[str, Any]:
    """The policy of the uplifts against the best single action and against nothing, at a contact cost."""
    rows = np.arange(len(judged.best))
    choice = judged.uplifts.argmax(axis=1)
    contacts = judged.uplifts[rows, choice] > cost
    ours = np.where(contacts, judged.robust[rows, choice + 1] - cost, judged.robust[:, 0])
    everybody = judged.robust[rows, judged.best + 1] - cost
    return {
        "contacted": float(contacts.mean()),
        "value": as_json(mean_by_person(ours, judged.persons)),
        "best_single_action": as_json(mean_by_person(everybody, judged.persons)),
        "nothing": as_json(mean_by_person(judged.robust[:, 0], judged.persons)),
        "over_best_single_action": as_json(mean_by_person(ours - everybody, judged.persons)),
    }


def top_gains(judged: Judged) -> dict[str, Any]:
    """The part of all that the best single action gains, held by those with the largest predicted uplift of it."""
    rows = np.arange(len(judged.best))
    gains = judged.robust[rows, judged.best + 1] - judged.robust[:, 0]
    uplifts = judged.uplifts[rows, judged.best]
    return {
        f"{share:g}": as_json(ratio_by_person(gains * parts_in_top(uplifts, share), gains, judged.persons))
        for share in TOP_SHARES
    }


def missed_bounds(found: dict[str, Any], arguments: argparse.Namespace) -> list[str]:
    """What was promised on the command line and is not so."""
    missed = []
    for cost, errors in arguments.at_least:
        difference = found["differences"][f"{cost:g}"]["over_best_single_action"]
        if difference["value"] < errors * difference["standard_error"]:
            missed.append(f"at contact cost {cost:g}: {difference['value']:+.3f} is under {errors:g} standard errors")
    if arguments.top_30 is not None and found["top_gains"]["0.3"]["value"] < arguments.top_30:
        missed.append(f"the first 30 % hold {found['top_gains']['0.3']['value']:.2f} of the gain")
    if arguments.form is not None and set(found["forms"]) != {arguments.form}:
        missed.append(f"forms {found['forms']} instead of {arguments.form}")
    return missed


def as_json(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 6) for name, value in estimate._asdict().items()}


def as_text(found: dict[str, Any]) -> str:
    lines = [f"{found['rows']:,} rows of {found['persons']:,} persons; forms {found['forms']}"]
    lines += ["contact cost   contacted      model   best single action   difference"]
    for cost, row in found["differences"].items():
        gain = row["over_best_single_action"]
        lines.append(
            f"{cost:>12} {row['contacted']:>11.1%} {row['value']['value']:>10.4f} "
            f"{row['best_single_action']['value']:>20.4f}   {gain['value']:+.4f} ± {gain['standard_error']:.4f}"
        )
    shares = ", ".join(f"{float(share):.0%}: {row['value']:.2f}" for share, row in found["top_gains"].items())
    return "\n".join([*lines, f"part of the gain held by the first {shares}"])


if __name__ == "__main__":
    main()
