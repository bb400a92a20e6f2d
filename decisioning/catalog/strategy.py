"""A compiled strategy: what `decide` reads. Built once by `load.py`, immutable, named by the sha-256 of its files.

Actions have an index; sets of actions are Python ints with bit i for action i, because gates over a thousand actions
then cost a few integer operations instead of a loop. Money is in the strategy's currency, times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisioning.catalog.content import Content
from decisioning.catalog.dates import Calendar
from decisioning.catalog.decision_table import DecisionTable
from decisioning.catalog.derived import DerivedAttribute
from decisioning.catalog.faults import Fault
from decisioning.catalog.picture import Picture
from decisioning.catalog.schema import Schema
from rules import PredicateIndex, Program, StagedIndex

Mask = int  # a set of actions: bit i stands for strategy.actions[i]


def indexes_of(mask: Mask) -> NDArray[np.int64]:
    """The actions of a set, ascending."""
    raw = np.frombuffer(mask.to_bytes(mask.bit_length() // 8 + 1, "little"), dtype=np.uint8)
    return np.unpackbits(raw, bitorder="little").view(np.bool_).nonzero()[0]


@lru_cache(maxsize=256)  # what strategies in force say of sets of actions: a few each
def members(mask: Mask, count: int) -> NDArray[np.bool_]:
    """A set that a strategy knows as bool[count], not to be written to."""
    flags = np.zeros(count, dtype=np.bool_)
    flags[indexes_of(mask)] = True
    flags.flags.writeable = False
    return flags


@dataclass(frozen=True, slots=True)
class Quiet:
    """When nothing may be sent in a channel, by the customer's own clock."""

    hours: tuple[time, time] | None  # from, until; until is not one of them, and may lie behind midnight
    weekdays: frozenset[int]  # whole days, Monday is 0
    dates: frozenset[date]


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach a customer."""

    name: str
    direction: str  # inbound or outbound
    lease_ms: int  # how long an offer decided in this channel is promised
    contact_cost: float  # marginal cost of one contact here
    quiet: Quiet | None  # None: what is sent here may be sent at any time
    origins: frozenset[str]  # of the sites whose pages may ask from a browser; empty: none may


@dataclass(frozen=True, slots=True)
class Field:
    """One declared content field of a placement."""

    name: str
    type: str  # text, html, url, image, link, texts
    required: bool
    max: int | None  # most characters of a text
    size: tuple[int, int] | None  # pixels of an image; a file is as large, or a whole number of times as fine


@dataclass(frozen=True, slots=True)
class Placement:
    """A named position in a channel, and who may fill it."""

    name: str
    channel: str
    nothing_value: float
    count: int  # how many actions an answer may give for it, one below the other
    fields: Mapping[str, Field]
    fallback: Content  # prepared brand content for trouble
    quiet: Content | None  # what an agent reads of nothing; None: what stands there already stays
    quiet_color: str  # of the mail around it, in which nothing is an empty strip
    default_url: str
    one_per_group: bool
    picture: Picture | None  # how its content is drawn where only a picture can be fetched
    candidates: Candidates


@dataclass(frozen=True, slots=True)
class Candidates:
    """Everyone who could be shown in one placement, ordered by action index."""

    mask: Mask
    unsure_mask: Mask  # those whose content may turn out to need a value that is missing
    action_index: NDArray[np.int64]
    treatments: tuple[Treatment, ...]  # parallel to action_index


@dataclass(frozen=True, slots=True)
class Treatment:
    """Content of one action for one channel."""

    action: str
    channel: str
    placements: tuple[str, ...]
    content: Content


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as its author wrote it, and the predicates it was split into."""

    text: str
    where: str  # file:line:column
    clauses: tuple[Program, ...]  # its conjuncts, the same objects that gate_index evaluates


@dataclass(frozen=True, slots=True)
class Gate:
    """One stage of rules over all actions: eligibility, applicability or suitability.

    `rules[i]` are the rules of action i as written.
    """

    name: str
    rules: tuple[tuple[Rule, ...], ...]
    contextual: frozenset[str]  # texts of predicates that read context, channel or the channel's history

    def reads_context(self, predicate: Program) -> bool:
        """True when the predicate's verdict belongs to this moment, not to the customer's own facts."""
        return predicate.text in self.contextual

    def predicates(self, action_index: int) -> tuple[Program, ...]:
        """What an action has to pass here, in the order of its rules."""
        return tuple(clause for rule in self.rules[action_index] for clause in rule.clauses)


@dataclass(frozen=True, slots=True)
class ContextWeight:
    """While `when` holds, `weight` multiplies the priority of the actions in `mask`."""

    when: Program
    weight: float
    mask: Mask
    where: str  # file:line:column of the first action that has it


@dataclass(frozen=True, slots=True, eq=False)  # one is itself only: contact_policy.py looks up what it makes of them
class ContactPolicy:
    """Hold back after `limit` interactions of `outcomes` within a sliding window, for `hold_ms` after the one that
    reached it.
    """

    name: str
    scope: str  # whose interactions count together: action, group, issue, channel or customer
    outcomes: frozenset[str]
    limit: int
    window_ms: int
    hold_ms: int
    channel: str | None  # None: interactions of every channel count
    mask: Mask  # the actions that refer to this policy
    where: str


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a volume constraint that has a budget of its own."""

    key: str  # the action, group or issue that has it; "" where the channel has, or all share one
    mask: Mask
    steps: tuple[tuple[int, Mask], ...]  # units that one spend takes, most first, and the actions that take so many

    def short_of(self, at_hand: int) -> Mask:
        """The actions whose next spend needs more units than these."""
        short = 0
        for units, mask in self.steps:
            if units <= at_hand:
                break
            short |= mask
        return short


@dataclass(frozen=True, slots=True, eq=False)  # one is itself only: what volume.py makes of them is looked up by them
class VolumeConstraint:
    """A limit over all customers, in units of its counter: pieces, or thousandths of the currency."""

    name: str
    limit: int
    unit: str  # money or number
    scope: str  # what has a budget of its own: each action, group, issue or channel; all: one for everything
    period: str  # day (of the strategy's time zone) or total
    spend_on: str  # selected: when it is drawn; accepted: reserved when it is drawn, spent by the answer
    channel: str | None  # None: what is selected in any channel spends
    mask: Mask  # the actions that refer to it
    shares: tuple[Share, ...]
    where: str

    def amount(self, units: int) -> float:
        """Units of the counter as the author writes them."""
        return units / 1_000 if self.unit == "money" else units


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be said or done."""

    key: str  # issue/group/action
    index: int
    issue: str
    group: str
    name: str
    kind: str  # offer or message
    purpose: str
    worth: float  # action_value of an offer, brand_value of a message
    lever: float
    mandatory: bool
    bypasses: bool  # service and mandatory actions bypass holdout and experiments
    start_ms: int | None  # live from, inclusive
    end_ms: int | None  # live until, exclusive
    policies: tuple[str, ...]
    treatments: Mapping[str, Treatment]  # by channel
    behaviour: Mapping[str, str]  # response outcome -> positive, negative or neutral
    product: str | None  # what a conversion without a decision may name instead of the action
    where: str


@dataclass(frozen=True, slots=True)
class Holdout:
    """Share of customers who get nothing by design."""

    share: float
    salt: str


@dataclass(frozen=True, slots=True)
class Exploration:
    """What a draw may give up to learn about actions that do not look best, and where."""

    mask: Mask  # the actions it may try: of the issues listed, but no service and no mandatory ones; others must win
    sacrifice: float = 0.05  # of the best value, by the model's own expectation, at most
    scale_min: float = 1.0  # currency: differences are weighed against the best value, or this where that is less
    launch_share: float = 0.01  # least chance of each action that is new to the model
    launch_impressions: int = 200  # until so many have seen it
    placements: frozenset[str] | None = None  # None: all

    def covers(self, placement: str) -> bool:
        """True when draws for this placement explore."""
        return self.placements is None or placement in self.placements


@dataclass(frozen=True, slots=True)
class Experiment:
    """Arms by name with their shares, assigned by salted hash of the person."""

    name: str
    salt: str
    arms: Mapping[str, float]  # arm -> share; known arms: full, random


@dataclass(frozen=True, slots=True)
class ConsentDefault:
    """What an absent consent means for a channel and purpose, and on which lawful basis."""

    granted: bool
    basis: str


@dataclass(frozen=True, slots=True)
class Persona:
    """A customer, a moment and the expected outcome: a test a marketer writes."""

    name: str
    where: str
    body: Mapping[str, Any]
    at_ms: int | None = None  # the moment it is met in; None: now


@dataclass(frozen=True, slots=True)
class Strategy:
    """The versioned text, compiled. All masks and arrays follow the order of `actions`, which is the order of their
    keys.
    """

    name: str
    version: str  # sha-256 over all files
    currency: str
    timezone: str  # an IANA name
    timezone_attribute: str | None  # whose value stands in its place for a customer, without its `customer.` prefix
    languages: tuple[str, ...]  # first one is the default
    link_schemes: tuple[str, ...]  # of addresses in content, besides https
    language_attribute: str | None  # whose value chooses among them, without its `customer.` prefix
    ranking: str  # gross: by propensity; incremental: by uplift
    schema: Schema
    channels: Mapping[str, Channel]
    placements: Mapping[str, Placement]
    actions: tuple[Action, ...]
    action_index: Mapping[str, int]
    worth: NDArray[np.float64]  # of each action: action_value of an offer, brand_value of a message
    lever: NDArray[np.float64]  # of each action
    action_hash: NDArray[np.uint64]  # of each action's key: breaks ties together with the person
    gates: tuple[Gate, ...]  # eligibility, applicability, suitability
    gate_index: StagedIndex  # the rules of all of them, a stage each; evaluates each distinct predicate once
    purpose_masks: Mapping[str, Mask]  # purpose -> its actions
    masks_under: Mapping[str, Mask]  # issue, issue/group and issue/group/action -> the actions under it
    consent_defaults: Mapping[tuple[str, str], ConsentDefault]  # (channel, purpose)
    contact_policies: tuple[ContactPolicy, ...]
    volume_constraints: tuple[VolumeConstraint, ...]
    context_weights: tuple[ContextWeight, ...]
    weight_index: PredicateIndex  # their conditions, a row each
    derived: Mapping[str, DerivedAttribute]  # by short name
    tables: tuple[DecisionTable, ...]
    holdout: Holdout | None
    exploration: Exploration | None
    experiments: tuple[Experiment, ...]
    personas: tuple[Persona, ...]
    bypass_mask: Mask  # service and mandatory actions
    mandatory_mask: Mask
    offer_mask: Mask
    calendar: Calendar  # which actions are live when
    reads: frozenset[str]  # attribute paths that rules, content and weights can ask for
    features: Mapping[str, str]  # attribute path -> numeric, categorical or flag: what models may learn from
    barred: Mapping[str, frozenset[str]]  # action -> attributes that its purpose forbids, when there are any
    images: Mapping[str, bytes]  # files below content/images by name, for pages to fetch
    warnings: tuple[Fault, ...]  # what loads, but cannot be what its author meant

    def attributes_behind(self, paths: frozenset[str]) -> frozenset[str]:
        """The same paths with everything that their derived attributes read."""
        return paths.union(*(each.reads for each in self.derived.values() if each.name in paths))

    def features_among(self, paths: Iterable[str]) -> frozenset[str]:
        """Those that models may see here; any other is missing to them. The channel is one, it names the treatment."""
        return frozenset(path for path in paths if path in self.features or path == "channel")

    def language_of(self, attributes: Mapping[str, Any]) -> str:
        """The language the customer reads, as stated; content falls back from it (`chain_of`), then to the default."""
        stated = attributes.get(self.language_attribute) if self.language_attribute else None
        return stated if isinstance(stated, str) else self.languages[0]
