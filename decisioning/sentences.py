"""Sentences: an entry of an explanation as a person would say it, for a call-centre agent or a marketer.

Pure: reads the entries of `explain.py`, which are JSON, and nothing else. The first sentence is the answer, the others
say why. Times are shown on the strategy's clock, in the words of the glossary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from decisioning.evidence import MASKED, MISSING
from decisioning.request import NOTHING

Entry = Mapping[str, Any]
RULE_STAGES = ("eligibility", "applicability", "suitability")


def account_of(entry: Entry, *, place: str, zone: tzinfo) -> str:
    """Whether the action comes in this place, and why. place is how the reader calls it: a channel or a placement."""
    subject = f"{entry['kind']} of {entry['action']!r}" if entry["kind"] == "offer" else f"message {entry['action']!r}"
    if entry["status"] == "placed":
        return " ".join([f"Yes: the {subject} comes in {place}.", *_placed(entry, zone)])
    headline, details = _told(entry, zone)
    return " ".join([f"No {subject} in {place}: {headline}.", *details])


def _told(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    reason = entry["reason"]
    if reason.removesuffix("_unknown") in RULE_STAGES:
        return _rule(entry, zone)
    return _TELLERS[reason](entry, zone)


def _placed(entry: Entry, zone: tzinfo) -> list[str]:
    """What won the place, from the codes of the outcome's reasons."""
    codes = dict(reason.partition(":")[::2] for reason in entry["reasons"])
    until = _time(entry["until"], zone)
    if "lease" in codes:
        return [f"It is promised to this customer, in every channel, until {until}."]
    if "held" in codes:
        return [f"It is what this place already shows, until {until}."]
    if "random_arm" in codes:
        return ["An experiment gives this customer a random permitted action, and it is this one."]
    if "mandatory" in codes:
        return ["It is mandatory and comes before everything else."]
    worth = f"Its priority is {entry['priority']:.2f}, {float(codes['margin']):.2f}"
    if "explored" in codes:
        learn = f"It was drawn to learn about it, which had a probability of {entry['selection_probability']:.2%}."
        return [f"{worth} less than {_priority_of(codes['instead_of'])}.", learn]
    return [f"{worth} more than {_priority_of(codes['runner_up'])}."]


def _priority_of(rival: str) -> str:
    return "staying silent" if rival == NOTHING else f"that of {rival!r}"


def _rule(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    stage = entry["reason"].removesuffix("_unknown")
    headline = f"{stage} stops it" if stage == entry["reason"] else f"{stage} cannot be judged"
    if "clause" not in entry:
        return headline, []
    asked = entry.get("history", ())
    rule = f"The rule `{entry['rule']}`"
    if not asked and entry["clause"] != entry["rule"]:
        rule = f"In the rule `{entry['rule']}` the part `{entry['clause']}`"
    if entry["values"]:
        facts = _joined([f"{_name(path)}, which is {_value(value)}" for path, value in entry["values"].items()])
        details = [f"{rule} needs {facts}."]
    else:
        details = [f"{rule} does not hold."] if stage == entry["reason"] else [f"{rule} has no answer."]
    details += [_interactions(each, zone) for each in asked]
    is_missing = MISSING in entry["values"].values() or any(not each["interactions"] for each in asked)
    if "unknown_because" in entry and not is_missing:
        details.append(f"Evaluating it ends with: {entry['unknown_because']}.")
    return headline, details


def _interactions(asked: Entry, zone: tzinfo) -> str:
    """What a rule's question to the history found."""
    of = _scope(asked["scope"])
    within = f" within {_days(asked['window_days'])}" if "window_days" in asked else ""
    times = [_occasion(each, zone) for each in asked["interactions"]]
    if not times:
        return f"There is no {asked['outcome']!r} {of}{within}."
    if not within:
        return f"It looks at the last {asked['outcome']!r} {of}: {times[-1]}."
    count = sum(each.get("times", 1) for each in asked["interactions"])
    return f"It counts {count} {asked['outcome']!r} {of}{within}: {_joined(times)}."


def _occasion(interaction: Entry, zone: tzinfo) -> str:
    """One interaction; or several of a day, of which only the last is known by its time."""
    times = f"{interaction['times']} times until " if interaction.get("times", 1) > 1 else "on "
    return f"{times}{_time(interaction['at'], zone)} in {interaction['channel']}"


def _scope(scope: str) -> str:
    kind, _, key = scope.partition(":")
    return {"customer": "of anything", "channel": "in this channel"}.get(kind, f"of {key!r}")


def _not_live(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    start, end = entry["live"]["from"], entry["live"]["until"]
    bounds = [f"It starts on {_time(start, zone)}."] if start else []
    return "it is not live now", [*bounds, *([f"It ends on {_time(end, zone)}."] if end else [])]


def _consent(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    consent = entry["consent"]
    headline = f"the customer does not permit {consent['purpose']} in {consent['channel']}"
    if consent["stated"]:
        return headline, [f"It was refused on {_time(consent['since'], zone)}, as {consent['source']!r} reported."]
    return headline, ["Nothing was ever said about it, and here silence means no."]


def _quiet_hours(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    until = _time(entry["quiet"]["until"], zone)
    return "nothing is sent at this hour", [f"By the customer's clock it is quiet time, until {until} on ours."]


def _contact_policy(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    policies = entry["contact_policies"]
    names = _joined([repr(each["policy"]) for each in policies])
    word, verb = ("policy", "holds") if len(policies) == 1 else ("policies", "hold")
    until = _time(max(each["until"] for each in policies), zone)
    return f"the contact {word} {names} {verb} it back until {until}", [_limit(each, zone) for each in policies]


def _volume_constraint(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    names = _joined([repr(each["budget"]) for each in entry["volume"]])
    return f"nothing is left of {names}", [_shortage(each) for each in entry["volume"]]


def _volume_wait(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    names = _joined([repr(each["budget"]) for each in entry["volume"]])
    return f"more of {names} is on its way", [_shortage(each) for each in entry["volume"]]


def _shortage(budget: Entry) -> str:
    """What one budget is short of."""
    short = f"It takes {budget['needed']:.12g} of {budget['limit']:.12g}, and {budget['at_hand']:.12g} are at hand"
    return f"{short} for this customer's share of the store."


def _limit(policy: Entry, zone: tzinfo) -> str:
    """One contact policy and what it counted."""
    outcomes = " or ".join(repr(each) for each in policy["outcomes"])
    channel = f" in {policy['channel']}" if policy["channel"] else ""
    window = _days(policy["window_days"])
    if "kept_since" in policy:
        since = _time(policy["kept_since"], zone)
        return f"{policy['policy']!r} counts {outcomes} over {window}, and what came before {since} is forgotten."
    of = {"customer": "whatever it was about", "channel": "in this channel"}.get(
        policy["scope"], f"of the same {policy['scope']}"
    )
    times = "once" if policy["count"] == 1 else f"{policy['count']} times"
    return (
        f"{policy['policy']!r} counted {outcomes} {of}{channel} {times} within {window}, last on "
        f"{_time(policy['last'], zone)}; from {policy['limit']} on it rests for {_days(policy['hold_days'])}."
    )


def _lease(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    promised = entry.get("lease") or entry.get("winner")
    if promised is None:
        return "no new offer may stand here now", []
    headline = f"{promised['action']!r} is promised to this customer until {_time(promised['until'], zone)}"
    return headline, ["A promise holds in every channel; what is not promised does not compete with it."]


def _settled(text: str) -> Callable[[Entry, tzinfo], tuple[str, list[str]]]:
    """A reason that one sentence explains."""
    return lambda entry, zone: (text, [])


def _beside(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    other = entry["beside"]
    if other["action"] == entry["action"]:
        return f"the same answer shows it in {other['placement']}", []
    return f"the same answer shows {other['action']!r} of its group in {other['placement']}", []


def _content_unknown(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    cause = entry.get("unknown_because")
    return "its text needs a value that is missing", [f"The content says: {cause}."] if cause else []


def _outranked(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    winner, priority = entry["winner"], entry["priority"]
    against = f"Its priority is {priority:.2f} against {winner['priority']:.2f}"
    return f"{winner['action']!r} is worth more", [f"{against}, {winner['priority'] - priority:.2f} less."]


def _silence(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    worth = entry["winner"]["priority"]
    return "staying silent is worth more", [f"Its priority is {entry['priority']:.2f}, silence has {worth:.2f}."]


def _explored(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    winner = entry["winner"]["action"]
    drawn = "staying silent was drawn" if winner == NOTHING else f"{winner!r} was drawn"
    learn = "Now and then a draw tries what does not look best, to learn about it."
    return f"{drawn} in its place", [learn, f"This one had a probability of {entry['selection_probability']:.2%}."]


def _held(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    winner, until = entry["winner"], _time(entry["winner"]["until"], zone)
    if winner["action"] == NOTHING:
        return f"it was decided to stay silent here until {until}", []
    return f"{winner['action']!r} stays here until {until}", []


def _mandatory(entry: Entry, zone: tzinfo) -> tuple[str, list[str]]:
    return f"the mandatory {entry['winner']['action']!r} comes first", []


_TELLERS: Mapping[str, Callable[[Entry, tzinfo], tuple[str, list[str]]]] = {
    "not_live": _not_live,
    "unscored": _settled("no gate stopped it; what it was worth then is not known any more"),
    "lease": _lease,
    "consent": _consent,
    "quiet_hours": _quiet_hours,
    "contact_policy": _contact_policy,
    "volume_constraint": _volume_constraint,
    "volume_wait": _volume_wait,
    "content_unknown": _content_unknown,
    "placed_elsewhere": _beside,
    "one_per_group": _beside,
    "holdout": _settled("this customer belongs to the holdout and is shown nothing, to measure the rest against"),
    "random_arm": _settled("an experiment gives this customer a random permitted action, and it is another one"),
    "outranked": _outranked,
    "nothing_worth_more": _silence,
    "held": _held,
    "explored": _explored,
    "mandatory": _mandatory,
}


def _name(path: str) -> str:
    """An attribute as a reader calls it: customers' by their short name, others with where they come from."""
    return path.removeprefix("customer.")


def _value(value: Any) -> str:
    if value in (MISSING, MASKED):
        return "unknown" if value == MISSING else MASKED
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (str, list)) else str(value)


def _days(days: float) -> str:
    return "1 day" if days == 1 else f"{days:g} days"


def _time(text: str, zone: tzinfo) -> str:
    """21 November 2026, 22:41"""
    at = datetime.fromisoformat(text).astimezone(zone)
    return f"{at.day} {at:%B %Y, %H:%M}"


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
