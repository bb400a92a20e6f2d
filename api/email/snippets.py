"""Snippets: the code that somebody pastes into a mail, for the platforms that send it, with their own merge tags.

Picture and link carry one token, which `nextbest tokens seal` makes for each recipient and the platform keeps as a
field of theirs. Each platform's way of naming that field is from its own documents. The alternative text is frozen when
the mail is sent, so it is neutral: the name of an offer would contradict the picture by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from decisioning.catalog.strategy import Placement

FIELD = "nextbest_token"  # of a recipient, and the column that `nextbest tokens seal` writes
ALT = "Your current benefit, see it online"
SIZE_DEFAULT = (600, 200)
COLOR_DEFAULT = "#FFFFFF"
AMP_NOTE = "Name the address that the mail comes from in NEXTBEST_AMP_SENDERS of the servers: any other is refused."


@dataclass(frozen=True, slots=True)
class Platform:
    """How one platform writes a recipient's token into a mail."""

    title: str
    tag: str
    link_attribute: str = ""  # that keeps it from rewriting the link, where it has one
    lead: str = ""  # before the picture; {address} is that of the token's JSON
    condition: tuple[str, str] = ("", "")  # around it, so that silence takes no room
    note: str = ""  # what whoever pastes it has to do as well


PLATFORMS: Mapping[str, Platform] = {
    "html": Platform("Plain HTML", "TOKEN"),
    # Braze, "Connected Content": fetched at send time; what cannot be fetched is empty, and the mail goes out without.
    # "Caching responses": a GET is kept for five minutes at least, unless it says :no_cache.
    "braze": Platform(
        "Braze Connected Content",
        "{{custom_attribute.${nextbest_token}}}",
        lead="{% connected_content {address} :save nextbest :no_cache %}\n",
        condition=("{% if nextbest.outcome != 'nothing' %}\n", "\n{% endif %}"),
    ),
    # Salesforce, "AMPscript": %%field%% is a column of the data extension that the mail is sent to.
    "salesforce": Platform("Salesforce Marketing Cloud", "%%nextbest_token%%"),
    # Mailchimp, "Merge tags": a tag has at most ten capital letters, digits or underscores.
    "mailchimp": Platform(
        "Mailchimp",
        "*|NBTOKEN|*",
        " mc:disable-tracking",
        note=f"Give the audience a text field with the merge tag NBTOKEN, and import the column {FIELD} into it.",
    ),
    # SendGrid, "Dynamic templates" (Handlebars) and "Disable click tracking".
    "sendgrid": Platform("SendGrid", "{{nextbest_token}}", ' clicktracking="off"'),
    # Customer.io, "Liquid" and "Untracked links".
    "customerio": Platform("Customer.io", "{{customer.nextbest_token}}", ' class="untracked"'),
}


def snippet(platform: str, base: str, placement: Placement | None = None) -> str:
    """Ready to paste. base: scheme and host under which mails reach this service; placement: whose size it takes."""
    chosen = PLATFORMS[platform]
    picture = None if placement is None else placement.picture
    width, height = SIZE_DEFAULT if picture is None else (picture.width, picture.height)
    color = COLOR_DEFAULT if placement is None else placement.quiet_color
    address = f"{escape(base.rstrip('/'))}/e/{chosen.tag}"
    before, after = chosen.condition
    return (
        chosen.lead.replace("{address}", f"{address}.json")
        + before
        + f'<a href="{escape(base.rstrip("/"))}/c/{chosen.tag}"{chosen.link_attribute}>\n'
        f'  <img src="{address}.png" srcset="{address}.2x.png 2x" width="{width}" height="{height}" alt="{ALT}"\n'
        f'       border="0" bgcolor="{color}" style="display:block;max-width:100%;height:auto"></a>' + after + "\n"
    )


def amp_snippet(base: str, height: int = SIZE_DEFAULT[1]) -> str:
    """The same as a list of AMP for Email, whose one item is shown while it holds."""
    address = f"{escape(base.rstrip('/'))}/e/TOKEN.amp"
    return (
        f'<amp-list width="auto" height="{height}" layout="fixed-height" src="{address}">\n'
        '  <template type="amp-mustache"><p>{{headline}}</p><a href="{{link}}">{{cta.label}}</a></template>\n'
        f"</amp-list>\n"
    )
