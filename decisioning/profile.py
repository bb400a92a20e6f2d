"""Profile: how what a source says now joins what it said before.

Pure. Each attribute keeps the time at which it was said, so that a new word about one does not make old ones look
fresh. Most attributes of a source are said together; only the exceptions carry a time of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from decisioning.customer import SourceFacts


def restated(before: SourceFacts | None, said: Mapping[str, Any], *, at_ms: int) -> SourceFacts:
    """The source's facts after it said these at at_ms. None forgets an attribute; what was said later stays."""
    if before is None:  # as for everybody in a first load: 0.7 µs in place of 3.5
        return SourceFacts(at_ms, {name: value for name, value in said.items() if value is not None})
    attributes = dict(before.attributes)
    times_ms = {name: before.times_ms.get(name, before.at_ms) for name in attributes}
    for name, value in said.items():
        if times_ms.get(name, at_ms) > at_ms:
            continue
        attributes.pop(name, None)
        times_ms.pop(name, None)
        if value is not None:
            attributes[name] = value
            times_ms[name] = at_ms
    common_ms = Counter(times_ms.values()).most_common(1)[0][0] if times_ms else at_ms
    return SourceFacts(common_ms, attributes, {name: each for name, each in times_ms.items() if each != common_ms})
