"""Labels: what the responses to a trial say about it. One definition, for the learner and for training on history.

Pure. A trial is an offer that a recorded draw chose; a render of it in another channel belongs to the same trial. The
label depends on the *set* of response outcomes and not on their order, so a stream that takes them one by one (`step`)
ends with the same labels as a table that has them all. docs/learning.md has the rules and their reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from decisioning.request import OFFER

Label = Literal[0, 1]
Step = Literal["negative", "positive", "revise", "retract"]

# A person who does this has the offer before the eyes: the trial counts, as a negative until a positive follows.
SEEN = frozenset({"impression", "clicked", "accepted", "rejected", "dismissed"})
# They never decide a label by themselves, whatever an action's behaviour says: in the first two nobody acted, and
# time running out tells that a negative is final, not that somebody saw the offer.
UNDECIDING = frozenset({"machine_open", "undelivered", "no_response"})
PERSON, PROXY = "person", "proxy"  # who read the offer

_STEPS: Mapping[tuple[Label | None, Label | None], Step] = {
    (None, 0): "negative",
    (None, 1): "positive",
    (0, 1): "revise",
    (0, None): "retract",
}


class Trial(NamedTuple):
    """A draw that showed an offer. No answer shows an action twice, so the action tells placements apart."""

    decision_id: str  # of the decision that drew it, never of one that rendered it again
    action: str


class Reading(NamedTuple):
    """What a set of outcomes says about one trial."""

    label: Label | None  # None: nobody is known to have seen it
    reader: str | None  # PERSON or PROXY; None while that is open
    is_final: bool  # time ran out or a positive came; a late positive still counts


def reading_of(outcomes: Collection[str], behaviour: Mapping[str, str]) -> Reading:
    """Label of a trial with these response outcomes.

    behaviour is the action's own: response outcome -> positive, negative or neutral.
    """
    told = {behaviour.get(each) for each in outcomes if each not in UNDECIDING}
    if "positive" in told:
        return Reading(1, _reader(outcomes), is_final=True)
    is_final = "no_response" in outcomes
    if "undelivered" in outcomes:
        return Reading(None, None, is_final=True)
    if "negative" in told or not SEEN.isdisjoint(outcomes):
        return Reading(0, _reader(outcomes), is_final)
    if is_read_by_proxy(outcomes):
        return Reading(0, PROXY, is_final)
    return Reading(None, None, is_final)


def is_read_by_proxy(outcomes: Collection[str]) -> bool:
    """True when a proxy fetched what left for the customer, and no person reported seeing it.

    Such mail has no impressions, so its render is the trial: counted only when clicked, it would look far better than
    it is. A fetch without a render of ours proves nothing, scanners fetch too.
    """
    return "machine_open" in outcomes and "rendered" in outcomes and "impression" not in outcomes


def step(before: Collection[str], outcome: str, behaviour: Mapping[str, str]) -> Step | None:
    """What one more outcome changes: a first label, a negative revised to a positive or taken back, or nothing."""
    old, new = reading_of(before, behaviour).label, reading_of({*before, outcome}, behaviour).label
    return None if old == new else _STEPS[old, new]


def trial_of(decision_id: str, placed: Mapping[str, Any]) -> Trial | None:
    """The trial that a recorded placement drew or renders again; None for a message or nothing."""
    if placed["outcome"] != OFFER:
        return None
    return Trial(placed["lease_of"] or decision_id, placed["action"])


def trials_of(record: Mapping[str, Any]) -> Iterator[tuple[Trial, Mapping[str, Any]]]:
    """The trials that a decision record drew, each with its placement; renders are none, and neither is what was drawn
    for a machine.
    """
    if record["degraded"] or is_drawn_for_machine(record):
        return
    for placed in record["placements"]:
        trial = trial_of(record["decision_id"], placed)
        if trial is not None and placed["lease_of"] is None:
            yield trial, placed


def is_drawn_for_machine(record: Mapping[str, Any]) -> bool:
    """True when a proxy, or somebody unknown, fetched the mail whose picture this decision chose.

    Nobody tells when a person looks at such a picture. Only those who answer would be heard of, so it teaches nothing,
    not even by its answers.
    """
    return record.get("client_class") not in (None, PERSON)


def _reader(outcomes: Collection[str]) -> str:
    return PROXY if "machine_open" in outcomes and "impression" not in outcomes else PERSON
