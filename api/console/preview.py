"""The preview page: any treatment for any persona, as text, as a mail's HTML and picture, and as an agent reads it.

The pictures and the HTML have addresses of their own with the same parameters, so that the page's strict policy holds:
HTML stands in a frame that may run and load nothing.
"""

from __future__ import annotations

from contextlib import suppress

from starlette.responses import Response

from api.console.page import POLICY, Visit
from api.console.portrait import named, title_of
from api.email.canvas import BYTES_MAX
from api.email.pictures import SCALES, Drawing
from api.errors import Problem
from api.instants import wall_ms
from api.preview import NOTHING, TROUBLE, UNKNOWN, Preview, persona_names, persona_of, placements_for, preview, remarks
from decisioning.catalog.strategy import Strategy
from decisioning.errors import NextbestError

FRAMED = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
DRAWN = "default-src 'none'; sandbox"


async def preview_page(visit: Visit) -> Response:
    """GET: the form, and what was chosen in it."""
    strategy = visit.service.deployed().strategy
    asked = _asked(visit, strategy)
    seen, trouble = None, ""
    try:
        seen = _seen(visit, strategy)
    except NextbestError as error:
        trouble = str(error)
    drawings = {} if seen is None else await _drawings(visit, seen)
    response = visit.show(
        "preview.html",
        asked=asked,
        actions=[(NOTHING, "Nothing"), (TROUBLE, "Fallback")]
        + [(each.key, f"{title_of(each.key)} ({each.key})") for each in strategy.actions],
        placements=list(strategy.placements),
        personas=persona_names(strategy),
        languages=strategy.languages,
        seen=seen,
        fields=[] if seen is None or seen.content is None else [(named(name), v) for name, v in seen.content.items()],
        trouble=trouble,
        remarks=[] if seen is None else remarks(seen, drawings),
        sizes={scale: len(drawing.content) for scale, drawing in zip(SCALES, drawings.values(), strict=False)},
        bytes_max=BYTES_MAX,
        query=visit.request.url.query,
    )
    response.headers["content-security-policy"] = f"{POLICY}; frame-src 'self'"
    return response


async def preview_html(visit: Visit) -> Response:
    """GET: what stands in the frame."""
    html = f"<!doctype html><meta charset=utf-8><title>Mail</title>{_shown(visit).html}"
    return Response(html, media_type="text/html", headers={"content-security-policy": FRAMED})


async def preview_picture(visit: Visit) -> Response:
    """GET: the mail's picture; `scale` is 1 or 2."""
    seen = _shown(visit)
    if not seen.has_picture:
        raise Problem("not_found", "This placement has no picture of that.", "placement")
    drawing = await _drawn(visit, seen, 2 if visit.asked("scale") == "2" else 1)
    return Response(drawing.content, media_type=drawing.media_type, headers={"content-security-policy": DRAWN})


def _asked(visit: Visit, strategy: Strategy) -> dict[str, str]:
    """What was chosen; at first the first action, where it can be shown."""
    action, persona = visit.asked("action") or strategy.actions[0].key, visit.asked("persona") or UNKNOWN
    here = list(strategy.placements)
    with suppress(NextbestError):  # told by `preview`
        here, persona = placements_for(strategy, action), persona_of(strategy, persona).name
    placement = visit.asked("placement") or here[0]
    return {"action": action, "placement": placement, "persona": persona, "language": visit.asked("language")}


def _seen(visit: Visit, strategy: Strategy) -> Preview:
    asked = _asked(visit, strategy)
    return preview(
        strategy,
        action=asked["action"],
        placement=asked["placement"],
        persona=asked["persona"],
        language=asked["language"] or None,
        now_ms=wall_ms(),
    )


def _shown(visit: Visit) -> Preview:
    try:
        return _seen(visit, visit.service.deployed().strategy)
    except NextbestError as error:
        raise Problem("not_found", str(error), "preview") from error


async def _drawings(visit: Visit, seen: Preview) -> dict[str, Drawing]:
    if not seen.has_picture:
        return {}
    return {f"picture {scale}x": await _drawn(visit, seen, scale) for scale in SCALES}


async def _drawn(visit: Visit, seen: Preview, scale: int) -> Drawing:
    """Drawn where mails are, and kept beside theirs."""
    studio = visit.service.studio
    if seen.content is None:
        return studio.quiet(seen.placement.name, scale=scale)
    return await studio.draw(seen.placement, seen.content, scale=scale)
