"""Fragment: a treatment as a piece of HTML that a sending platform puts into a mail.

Tables and attributes, no style sheet: what every mail program understands. Every value is escaped here, but for fields
that are HTML already, whose insertions were escaped when they were rendered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from decisioning.catalog.strategy import Field, Placement

QUIET = '<table role="presentation" width="100%"{}><tr><td height="1" style="line-height:1px">&nbsp;</td></tr></table>'


def fragment(placement: Placement | None, content: Mapping[str, Any] | None, link: str) -> str:
    """The fields that hold something, in their order, links leading to `link`; else a strip in the mail's colour."""
    if placement is None or content is None:
        return QUIET.format(f' bgcolor="{placement.quiet_color}"' if placement else "")
    rows = "".join(
        f'<tr><td style="padding:6px 0">{cell}</td></tr>' for cell in _cells(placement, content, escape(link))
    )
    return f'<table role="presentation" width="100%" cellpadding="0" cellspacing="0">{rows}</table>'


def _cells(placement: Placement, content: Mapping[str, Any], link: str) -> Iterator[str]:
    for name, field in placement.fields.items():
        value = content.get(name)
        if value is not None and (cell := _cell(field, value, link)):
            yield cell


def _cell(field: Field, value: Any, link: str) -> str:
    if field.type == "link":
        label = value.get("label", "") if isinstance(value, Mapping) else ""
        return f'<a href="{link}">{escape(str(label))}</a>'
    if field.type == "texts":
        return "<br>".join(escape(str(each)) for each in value)
    if field.type == "html":
        return str(value)
    if field.type in ("image", "url"):  # a file's name or an address, which the picture and the link stand for
        return ""
    return escape(str(value))
