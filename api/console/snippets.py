"""The code that people paste into mails and pages, with this installation's own address and placements."""

from __future__ import annotations

from starlette.responses import Response

from api.console.bank import open_placements
from api.console.page import Visit
from api.console.portrait import named
from api.email.snippets import AMP_NOTE, FIELD, PLATFORMS, amp_snippet, snippet
from decisioning.catalog.strategy import Placement, Strategy


async def snippets_page(visit: Visit) -> Response:
    """GET: a snippet for each platform that sends mail, and what a page needs."""
    strategy = visit.service.deployed().strategy
    url = visit.request.url
    base = f"{url.scheme}://{url.netloc}"
    mails = _mails(strategy)
    chosen = next((each for each in mails if each.name == visit.asked("placement")), mails[0] if mails else None)
    written = [(each.title, snippet(name, base, chosen), each.note) for name, each in PLATFORMS.items()]
    written.append(("AMP for Email", amp_snippet(base), AMP_NOTE))
    scheme = next((each for each in strategy.link_schemes if each not in ("mailto", "tel")), None)
    named_scheme = f' data-scheme="{scheme}:"' if scheme else ""
    return visit.show(
        "snippets.html",
        mails=[each.name for each in mails],
        chosen=chosen.name if chosen else "",
        field=FIELD,
        mail_snippets=written if chosen else [],
        page_snippets=[(each.name, _markup(each)) for each in open_placements(strategy)],
        script=f'<script src="{base}/nextbest.js" data-token="VISITOR_TOKEN"{named_scheme} async></script>\n',
    )


def _mails(strategy: Strategy) -> list[Placement]:
    """The placements that mails can show, those with a picture first."""
    outbound = [
        each for each in strategy.placements.values() if strategy.channels[each.channel].direction == "outbound"
    ]
    return sorted(outbound, key=lambda each: each.picture is None)


def _markup(placement: Placement) -> str:
    """An element for each field, in which the author's own content stands until the answer is there."""
    tags = {"image": "img", "link": "a", "url": "a", "html": "div", "texts": "ul"}
    lines = [f'<section data-nextbest="{placement.name}">']
    for at, field in enumerate(placement.fields.values()):
        tag, own = tags.get(field.type, "p" if at else "h2"), named(field.name)
        marked = f'data-nextbest-field="{field.name}"'
        lines.append(
            {"img": f'  <img {marked} src="…" alt="">', "a": f'  <a {marked} href="…">{own}</a>'}.get(
                tag, f"  <{tag} {marked}>{own}</{tag}>"
            )
        )
    return "\n".join([*lines, "</section>", ""])
