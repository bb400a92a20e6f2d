"""AMP for Email: which sender may read an answer, in the old and the new version of the protocol.

Pure. amp.dev, "CORS in AMP for Email": a request that names its sender is version 2, whatever else it carries; one that
has an origin only is version 1 and must name its source; any other is refused, and so is a sender that is not allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

Headers = dict[str, str]


def cors_headers(headers: Mapping[str, str], source: str | None, allowed: Collection[str]) -> Headers | None:
    """What the answer has to carry; None refuses. headers: names in lower case; source: __amp_source_origin."""
    sender = headers.get("amp-email-sender")
    if sender is not None:
        return {"AMP-Email-Allow-Sender": sender} if _is_allowed(sender, allowed) else None
    origin = headers.get("origin")
    if origin is None or source is None or not _is_allowed(source, allowed) or not _is_plain(origin):
        return None
    return {
        "Access-Control-Allow-Origin": origin,
        "AMP-Access-Control-Allow-Source-Origin": source,
        "Access-Control-Expose-Headers": "AMP-Access-Control-Allow-Source-Origin",
    }


def _is_allowed(sender: str, allowed: Collection[str]) -> bool:
    return _is_plain(sender) and sender.lower() in allowed


def _is_plain(text: str) -> bool:
    """Whether a text can stand in a header: it comes from a request and goes back."""
    return text.isascii() and text.isprintable()
