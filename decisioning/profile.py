"""Profile: how what a source says now joins what it said before.

Pure. Each attribute keeps the time at which it was said, so that a new word about one does not make old ones look
fresh. Most attributes of a source are said together; only the exceptions carry a time of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from decisioning.customer import SourceFacts


def restated(before: SourceFacts | None, said: Mapping[str, Any], *, at_ms: int) -> SourceFacts:
    """The source's facts after it said these at at_ms; what was said later stays.

    None forgets an attribute. The time at which that was said stays behind alone, or an older word that is still on
    its way would bring the value back. What never had a value leaves nothing: tables are full of empty columns.
    """
    if before is None:  # as for everybody in a first load: 0.7 µs in place of 3.5
        return SourceFacts(at_ms, {name: value for name, value in said.items() if value is not None})
    attributes = dict(before.attributes)
    times_ms = dict.fromkeys(attributes, before.at_ms) | before.times_ms
    for name, value in said.items():
        if times_ms.get(name, at_ms) > at_ms or (value is None and name not in times_ms):
            continue
        attributes.pop(name, None)
        times_ms[name] = at_ms
        if value is not None:
            attributes[name] = value
    common_ms = Counter(times_ms[name] for name in attributes).most_common(1)[0][0] if attributes else at_ms
    apart = {name: each for name, each in times_ms.items() if each != common_ms or name not in attributes}
    return SourceFacts(common_ms, attributes, apart)


def forgotten(before: SourceFacts | None, name: str, *, at_ms: int) -> SourceFacts:
    """The source's facts after somebody wanted an attribute forgotten, even one that it has not told yet."""
    known = before or SourceFacts(at_ms, {})
    if name not in known.attributes:
        known = replace(known, times_ms={name: at_ms} | known.times_ms)
    return restated(known, {name: None}, at_ms=at_ms)
