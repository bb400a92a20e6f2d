"""First content: what the snippet does to a page that is being read, with its answer early, late, never, or *nothing*.

    python -m tests.proofs.first_content [ROUNDS]

A bank's page on a server of its own, in a real Chromium, beside the same page without the snippet. Measured are the
first contentful paint and the cumulative layout shift, both by the browser's own PerformanceObserver. A page that does
move shows that the second is measured at all.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from tests.browser import launched, moved, until, watched
from tests.story.house import House, opened_house
from tests.web.conftest import Site

DEADLINE_MS = 300
PATIENCE_MS = 20_000
HERO = """
<section class="hero" data-nextbest="web.home.hero">
<h1 data-nextbest-field="headline">Our own</h1>
<p data-nextbest-field="body">Our own words, as written</p>
<a data-nextbest-field="cta" href="/own">Our own link</a>
</section>
"""
PAINTED = "performance.getEntriesByName('first-contentful-paint').length === 1"
FIRST_CONTENT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@dataclass(frozen=True, slots=True)
class Case:
    """One way for an answer to come, or not."""

    told: list[list[str]]  # by the snippet, about the one placement
    headline: str
    deadline_ms: int = DEADLINE_MS
    granted: bool = True  # False: no channel may speak to the customer


OFFERED, OWN = "Alice, gold suits you", "Our own"
SHOWN, LATE, NOTHING = ["shown", "web.home.hero"], ["kept", "late"], ["kept", "nothing"]
CASES = {
    "without": Case([], OWN),
    "early": Case([SHOWN], OFFERED, PATIENCE_MS),
    "late": Case([LATE], OWN),
    "never": Case([LATE], OWN),
    "nothing": Case([NOTHING], OWN, PATIENCE_MS, granted=False),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one visit was like."""

    first_content_ms: float
    moved: float
    told: list[list[str]]
    headline: str


def visited(browser: Any, house: House, site: Site, name: str) -> Seen:
    """One visit in a fresh profile that has the script already, as on every page after a site's first."""
    case = CASES[name]
    customer = house.welcome(f"F-{name}")
    if not case.granted:
        refused = [{"channel": "web", "purpose": each, "granted": False} for each in ("marketing", "service")]
        house.http.put(f"/v1/customers/{customer}/consents", json=refused).raise_for_status()
    context = browser.new_context()
    watched(context)
    page = context.new_page()
    page.goto(site.put("/before", "<h1>Before</h1>"))
    script = f'data-deadline="{case.deadline_ms}" data-token="{house.visitor_token(customer, site.origin)}"'
    address = site.put("/", HERO, script=script)
    if name == "without":
        site.pages["/"] = site.pages["/"].partition("<script")[0]
    if name in ("late", "never"):
        house.pause()
    try:
        page.goto(address)
        until(page, PAINTED)
        until(page, f"window.told.length === {len(case.told)}")
        if name == "late":
            house.resume()  # and the answer comes
        shift = moved(page)
        first, told = page.evaluate(FIRST_CONTENT), page.evaluate("window.told")
        return Seen(first, shift, told, page.locator("h1").inner_text())
    finally:
        house.resume()
        context.close()


def control(browser: Any, site: Site) -> float:
    """How far a page moves that does move, by the same measure."""
    context = browser.new_context(bypass_csp=True)
    watched(context)
    page = context.new_page()
    site.pages["/moving"] = "<!doctype html><h1>Heading</h1><p>" + "Words " * 200
    page.goto(f"{site.origin}/moving")
    until(page, PAINTED)
    page.evaluate("document.body.prepend(Object.assign(document.createElement('p'), {style: 'height: 200px'}))")
    until(page, "window.moved > 0")
    shift = moved(page)
    context.close()
    return shift


def main(round_count: int = 10) -> None:
    """Print what came out; exits with 1 when the claim does not hold."""
    site = Site()
    threading.Thread(target=site.server.serve_forever, daemon=True).start()
    with opened_house() as house, launched() as browser:
        site.service = house.url
        visited(browser, house, site, "early")  # until everything is warm
        visit = partial(visited, browser, house, site)
        rounds = [{name: visit(name) for name in CASES} for _ in range(round_count)]  # in turn: the machine has moods
        seen = {name: [each[name] for each in rounds] for name in CASES}
        shift = control(browser, site)
    site.server.shutdown()
    for name, visits in seen.items():
        firsts = [each.first_content_ms for each in visits]
        print(f"{name:<8} first content after {median(firsts):6.0f} ms (worst {max(firsts):6.0f}), layout shift "
              f"{max(each.moved for each in visits):.4f}, told {visits[0].told or 'nothing'}")  # fmt: skip
    print(f"a page that moves, by the same measure: layout shift {shift:.4f}")
    base = median(each.first_content_ms for each in seen["without"])
    late = max(median(each.first_content_ms for each in visits) - base for visits in seen.values())
    print(
        f"first content at most {late:.0f} ms later than without the snippet, in the median; deadline {DEADLINE_MS} ms"
    )
    faults = [
        (name, each)
        for name, visits in seen.items()
        for each in visits
        if each.moved or each.told != CASES[name].told or each.headline != CASES[name].headline
    ]
    if faults or late > DEADLINE_MS or not shift:
        sys.exit(f"FAILED {faults}")


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:]))
