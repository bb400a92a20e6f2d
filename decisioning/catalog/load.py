"""Load: a strategy directory, or the same files as a bundle, becomes a compiled Strategy or lists every fault.

Everything slow or fallible happens here, once. A file that cannot be read at all would make every reference into it
look wrong, so the checks that depend on it are left out until it can be; all others still run.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Names
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np

from decisioning.catalog.actions import (
    Draft,
    Surroundings,
    actions_of,
    drafts_of,
    hashes_of,
    keys_of,
    mask_of,
    masks_under,
    policy_masks,
    purpose_masks,
)
from decisioning.catalog.channels import channels_of, consents_of
from decisioning.catalog.content import Showing
from decisioning.catalog.dates import calendar_of
from decisioning.catalog.decision_table import DecisionTable
from decisioning.catalog.derivations import derived_of
from decisioning.catalog.expressions import Expressions
from decisioning.catalog.faults import Fault, Faults, known
from decisioning.catalog.features import barred_of, features_of
from decisioning.catalog.gates import context_weights_of, gates_of, index_of
from decisioning.catalog.layout import FILES_BESIDE, FOLDERS_BESIDE, REQUIRED_FILES, shape_of
from decisioning.catalog.personas import personas_of
from decisioning.catalog.placements import fields_of, placements_of
from decisioning.catalog.policies import (
    check_reached,
    contact_policies_of,
    experiments_of,
    exploration_of,
    holdout_of,
)
from decisioning.catalog.satisfiability import Satisfiability
from decisioning.catalog.schema import Schema, schema_of
from decisioning.catalog.shape import Shape
from decisioning.catalog.strategy import Action, ContextWeight, Gate, Mask, Persona, Strategy, VolumeConstraint
from decisioning.catalog.table_warnings import table_warnings
from decisioning.catalog.tables import TableDraft, table_drafts_of, tables_of
from decisioning.catalog.volume import volume_constraints_of
from decisioning.catalog.warnings import warnings_of, warnings_within
from decisioning.catalog.writing import Writer, schemes_of
from decisioning.catalog.yaml_text import Mapping, Node, read_yaml
from decisioning.errors import StrategyFaulty
from decisioning.request import slots_of
from rules import PredicateIndex

BUNDLE_BYTES_MAX = 64 << 20  # pictures included
FOUNDATION = ("strategy.yaml", "channels.yaml", "placements.yaml", "schema.yaml")  # what all other files refer to
NAMED = ("language_attribute", "timezone_attribute")  # entries of strategy.yaml that name an attribute of customers
_IMAGES = "content/images/"


def load_directory(path: str | os.PathLike[str]) -> Strategy:
    """The strategy in a directory. Raises StrategyFaulty."""
    return load_bundle(read_bundle(path))


def read_bundle(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """All files of a strategy directory by relative path; hidden ones are left out. Raises StrategyFaulty."""
    root = Path(path)
    if not root.is_dir():
        raise StrategyFaulty([Fault(str(path), 1, 1, "there is no such directory", "Name a strategy directory")])
    if not any((root / name).exists() for name in (*REQUIRED_FILES, "actions")):
        raise StrategyFaulty([_no_strategy(root)])
    files: dict[str, bytes] = {}
    faults, byte_count = [], 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in FOLDERS_BESIDE)
        for name in sorted(name for name in names if not name.startswith(".")):
            file = Path(folder, name)
            relative = file.relative_to(root).as_posix()
            if FILES_BESIDE.fullmatch(relative):
                continue
            if not file.is_file() or file.is_symlink():
                faults.append(Fault(relative, 1, 1, "this is not a regular file", "Put the file itself here"))
                continue
            byte_count += file.stat().st_size
            if byte_count > BUNDLE_BYTES_MAX:
                raise StrategyFaulty([_oversize(relative)])
            files[relative] = file.read_bytes()
    if faults:
        raise StrategyFaulty(sorted(faults))
    return files


def _no_strategy(root: Path) -> Fault:
    """Another folder was named, so that whatever lies there is no fault, and may be too much to read."""
    needs = f"It needs {', '.join(REQUIRED_FILES)} and actions/*.yaml; docs/strategy.md shows their form"
    return Fault(".", 1, 1, f"{root} is no strategy", needs)


def load_bundle(files: Names[str, bytes]) -> Strategy:
    """The strategy in a bundle: relative path -> content. Raises StrategyFaulty."""
    if sum(map(len, files.values())) > BUNDLE_BYTES_MAX:
        raise StrategyFaulty([_oversize(max(files, key=lambda path: len(files[path])))])
    with _collector_paused():
        faults = Faults()
        reading = _read(files, faults)
        strategy = _compile(reading, faults) if reading.is_sound else None
    if strategy is None or faults:
        raise StrategyFaulty(faults.sorted())
    return strategy


@contextmanager
def _collector_paused() -> Iterator[None]:
    """The trees grow large and have no cycles; walking them over and over would be a sixth of the time to load."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def version_of(files: Names[str, bytes]) -> str:
    """The version of a bundle: sha-256 over its sorted paths and contents."""
    digest = sha256()
    for path, content in sorted(files.items()):
        # Lengths keep the boundaries: moving bytes between a path and a content, or two files, is another version.
        digest.update(f"{len(path.encode())} {len(content)}\n".encode() + path.encode() + content)
    return digest.hexdigest()


def _oversize(path: str) -> Fault:
    return Fault(
        path, 1, 1, f"the strategy has more than {BUNDLE_BYTES_MAX} bytes", "Shrink its pictures, or link to them"
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """The files' trees, their shapes checked."""

    version: str
    trees: dict[str, Mapping]
    unreadable: frozenset[str]  # files that are there, or should be, but gave no tree
    images: dict[str, bytes]

    @property
    def is_sound(self) -> bool:
        """True when everything that others refer to could be read."""
        referred = self.unreadable.intersection(
            (*FOUNDATION, "contact_policies.yaml", "volume_constraints.yaml", "derived.yaml")
        )
        return not referred and not any(path.startswith("tables/") for path in self.unreadable)

    @property
    def blocks(self) -> Mapping | None:
        """The content blocks, None when they could not be read."""
        path = "content/blocks.yaml"
        return None if path in self.unreadable else self.tree(path)

    @property
    def has_all_actions(self) -> bool:
        """True when no file of actions is unreadable."""
        return not any(path.startswith("actions/") for path in self.unreadable)

    def tree(self, path: str) -> Mapping:
        """The tree of a file, an empty one where there is none."""
        return self.trees.get(path) or Mapping(path, 1, 1)

    def below(self, folder: str) -> list[Mapping]:
        """The trees of a folder, by path."""
        return [self.trees[path] for path in sorted(self.trees) if path.startswith(folder)]


def _read(files: Names[str, bytes], faults: Faults) -> _Reading:
    trees: dict[str, Mapping] = {}
    unreadable = set()
    for path in sorted(files):
        is_known, shape = shape_of(path)
        if not is_known:
            way_out = "Remove it, or see docs/strategy.md for the files of a strategy"
            faults.add(Node(path, 1, 1), "a strategy has no such file", way_out)
        if shape is None:
            continue
        tree = _read_file(path, files[path], shape, faults)
        if tree is None:
            unreadable.add(path)
        else:
            trees[path] = tree
    unreadable |= _missing(files, faults)
    images = {path.removeprefix(_IMAGES): files[path] for path in sorted(files) if path.startswith(_IMAGES)}
    return _Reading(version_of(files), trees, frozenset(unreadable), images)


def _read_file(path: str, content: bytes, shape: Shape, faults: Faults) -> Mapping | None:
    tree = read_yaml(path, content, faults)
    if path in FOUNDATION and isinstance(tree, Mapping) and not tree.entries:
        faults.add(tree, "the file is empty", "docs/strategy.md shows its form")
        return None
    checked = None if tree is None else shape.check(tree, faults)
    return checked if isinstance(checked, Mapping) else None


def _missing(files: Names[str, bytes], faults: Faults) -> set[str]:
    missing = {path for path in REQUIRED_FILES if path not in files}
    if not any(path.startswith("actions/") for path in files):
        missing.add("actions/")
    for path in missing:
        faults.add(Node(path, 1, 1), "this is missing", "Create it; docs/strategy.md shows its form")
    return missing


def _compile(reading: _Reading, faults: Faults) -> Strategy:
    settings, policy_tree = reading.tree("strategy.yaml"), reading.tree("contact_policies.yaml")
    schema = schema_of(reading.tree("schema.yaml"), faults)
    around = _surroundings(reading, schema, faults)
    languages = tuple(node.value for node in settings.scalars("languages"))
    drafts = drafts_of(reading.below("actions/"), faults)
    expressions = Expressions(schema, faults, keys_of(drafts) if reading.has_all_actions else None)
    table_drafts = table_drafts_of(reading.below("tables/"), faults)
    derived = derived_of(reading.tree("derived.yaml"), table_drafts, expressions, faults)
    writer = Writer(languages, reading.images, Showing(around.zone), expressions, faults, schemes_of(settings, faults))
    actions = actions_of(drafts, around, writer, faults)
    policies = _policy_masks(reading, drafts, faults)
    placements = placements_of(reading.tree("placements.yaml"), around, reading.blocks, actions, writer)
    gates, weights = gates_of(drafts, expressions), context_weights_of(drafts, expressions, faults)
    tables = tables_of(table_drafts, actions, expressions, faults) if reading.has_all_actions else ()
    language_attribute, timezone_attribute = named = _named_attributes(settings, schema, faults)
    return Strategy(
        name=settings.value("name", ""),
        version=reading.version,
        currency=settings.value("currency", ""),
        timezone=settings.value("timezone", ""),
        timezone_attribute=timezone_attribute,
        languages=languages,
        language_attribute=language_attribute,
        link_schemes=writer.schemes,
        ranking=settings.value("ranking", "gross"),
        schema=schema,
        channels=MappingProxyType(around.channels),
        placements=MappingProxyType(placements),
        actions=actions,
        action_index=MappingProxyType({action.key: action.index for action in actions}),
        worth=np.array([action.worth for action in actions], dtype=np.float64),
        lever=np.array([action.lever for action in actions], dtype=np.float64),
        action_hash=hashes_of(actions),
        gates=gates,
        gate_index=index_of(gates),
        purpose_masks=purpose_masks(actions, schema.purposes),
        masks_under=masks_under(actions),
        consent_defaults=consents_of(reading.tree("consents.yaml"), around.channels, schema.purposes, faults),
        contact_policies=contact_policies_of(policy_tree, around.channels, policies, faults),
        volume_constraints=_volume_constraints(reading, drafts, around, faults),
        context_weights=weights,
        weight_index=PredicateIndex([(each.when,) for each in weights]),
        derived=MappingProxyType(derived),
        tables=tables,
        holdout=holdout_of(settings),
        exploration=exploration_of(settings, placements, actions if reading.has_all_actions else None, faults),
        experiments=experiments_of(reading.tree("experiments.yaml"), faults),
        personas=_personas(reading, schema, actions, around, faults),
        bypass_mask=mask_of([action for action in actions if action.bypasses]),
        mandatory_mask=mask_of([action for action in actions if action.mandatory]),
        offer_mask=mask_of([action for action in actions if action.kind == "offer"]),
        calendar=calendar_of((each.start_ms, each.end_ms) for each in actions),
        reads=expressions.attributes_behind(_reads(gates, weights, tables, actions, named)),
        features=features_of(schema, derived.values()),
        barred=barred_of(actions, schema, derived.values()),
        images=MappingProxyType(reading.images),
        warnings=() if faults else _warnings(reading, drafts, table_drafts, actions, expressions, around),
    )


def _policy_masks(reading: _Reading, drafts: Sequence[Draft], faults: Faults) -> Names[str, Mask]:
    masks = policy_masks(drafts)
    if reading.has_all_actions:
        check_reached(reading.tree("contact_policies.yaml"), masks, faults)
    return masks


def _personas(
    reading: _Reading, schema: Schema, actions: Sequence[Action], around: Surroundings, faults: Faults
) -> tuple[Persona, ...]:
    return personas_of(reading.below("personas/"), schema, actions, around, faults) if reading.has_all_actions else ()


def _volume_constraints(
    reading: _Reading, drafts: Sequence[Draft], around: Surroundings, faults: Faults
) -> tuple[VolumeConstraint, ...]:
    tree = reading.tree("volume_constraints.yaml")
    return volume_constraints_of(tree, drafts, around.channels, faults, has_all_actions=reading.has_all_actions)


def _warnings(
    reading: _Reading,
    drafts: Sequence[Draft],
    tables: Sequence[TableDraft],
    actions: Sequence[Action],
    expressions: Expressions,
    around: Surroundings,
) -> tuple[Fault, ...]:
    analysis = Satisfiability(expressions.schema, around.channels)
    stated = (node.scalar("expression") for _, node in reading.tree("derived.yaml").named())
    formulas = [each for each in stated if each is not None]
    contents = [*(draft.node.mapping("treatments") for draft in drafts), reading.tree("content/blocks.yaml")]
    found = (
        *warnings_of(drafts, actions, expressions, analysis),
        *warnings_within(formulas, contents, expressions, analysis),
        *table_warnings(tables, analysis),
    )
    return tuple(sorted(found))


def _surroundings(reading: _Reading, schema: Schema, faults: Faults) -> Surroundings:
    placements = reading.tree("placements.yaml")
    return Surroundings(
        channels=channels_of(reading.tree("channels.yaml"), faults),
        fields=fields_of(placements, faults),
        channel_of={name: node.value("channel") for name, node in placements.named()},
        slots={name: slots_of(name, node.value("count", 1)) for name, node in placements.named()},
        policies=frozenset(reading.tree("contact_policies.yaml").keys),
        purposes=schema.purposes,
        zone=_zone(reading.tree("strategy.yaml"), faults),
    )


def _zone(settings: Mapping, faults: Faults) -> tzinfo:
    node = settings.scalar("timezone")
    if node is None:
        return UTC
    try:
        return ZoneInfo(node.value)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # besides unknown: no name of a file, or one of a folder
        faults.add(node, f"unknown time zone {node.value!r}", known(node.value, available_timezones()))
        return UTC


def _named_attributes(settings: Mapping, schema: Schema, faults: Faults) -> list[str | None]:
    return [_named_attribute(settings, name, schema, faults) for name in NAMED]


def _named_attribute(settings: Mapping, name: str, schema: Schema, faults: Faults) -> str | None:
    """The attribute of the customer that strategy.yaml names for something, without its prefix."""
    node = settings.scalar(name)
    if node is None:
        return None
    attribute = schema.attributes.get(node.value)
    if attribute is None:
        faults.add(node, f"unknown attribute {node.value}", known(node.value, schema.attributes))
    elif attribute.type != "string":
        way_out = f"Name an attribute of type string, like customer.{name.removesuffix('_attribute')}"
        faults.add(node, f"{node.value} is of type {attribute.type}", way_out)
    return str(node.value).partition(".")[2]


def _reads(
    gates: Iterable[Gate],
    weights: Iterable[ContextWeight],
    tables: Iterable[DecisionTable],
    actions: Iterable[Action],
    named: Iterable[str | None],
) -> frozenset[str]:
    """Every path that a decision under this strategy may have to decode."""
    reads = [clause.reads for gate in gates for rules in gate.rules for rule in rules for clause in rule.clauses]
    reads += [weight.when.reads for weight in weights]
    reads += [table.reads for table in tables if table.mask]  # one that derives is read by whoever reads its attribute
    reads += [each.content.reads for action in actions for each in action.treatments.values()]
    reads.append(frozenset(f"customer.{name}" for name in named if name is not None))
    return frozenset().union(*reads)
