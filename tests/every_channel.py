"""A bank in every channel: a page, a mail with a picture, and an agent, all of whom call the customer by name.

Every type of field stands in some placement with the customer's first name in it, so that what a source says of
somebody reaches each place where a value can land.
"""

from __future__ import annotations

import re

from tests.console.office import CALL
from tests.decisioning.bank import FILES
from tests.email.post import mail_files

NAME = "{{ customer.first_name | 'friend' }}"
SITE = "https://bank.example"
FIELDS = (
    "{headline: {type: text, required: true}, body: {type: html}, image: {type: image}, points: {type: texts}, "
    "cta: {type: link}}"
)
PAGE = rf"web.\1: {{channel: web, nothing_value: 0.5, fields: {FIELDS}, fallback: brand, default_url: {SITE}/}}\n"
GOLD_ON_A_PAGE = f"""
          headline: "Gold, {NAME}"
          body: "<p>Dear <b>{NAME}</b>, <a href='{SITE}/gold'>look</a></p>"
          image: {SITE}/gold.png
          points: ["For {NAME}", "No fee"]
          cta: {{label: "Take {NAME}", url: "{SITE}/cards?for={NAME}"}}
"""
SAID_BEFORE = '{headline: {en: "Gold, {{ customer.first_name | \'friend\' }}", hu: "Arany"}}'


def every_channel(*origins: str) -> dict[str, str]:
    """The strategy's files; pages of these origins may ask, and those of SITE."""
    mail = mail_files(greeting=f", {NAME}", query=f"&for={NAME}")
    placements = re.sub(r"(?m)^web\.(hero|tile):.*\n", PAGE, mail["placements.yaml"])
    call = CALL["placements.yaml"].partition("call.next:")
    cards = mail["actions/cards.yaml"].replace(f"        content: {SAID_BEFORE}\n", f"        content:{GOLD_ON_A_PAGE}")
    for name, said in (("Gold", f'["Gold for {NAME}", "No fee"]'), ("Silver", '["Silver then"]')):
        in_mail = f'      email: {{placements: [email.hero], content: {{headline: "{name}'
        in_call = f"      call: {{placements: [call.next], content: {{points: {said}}}}}\n"
        cards = cards.replace(in_mail, in_call + in_mail)
    blocks = mail["content/blocks.yaml"] + "brand_call: " + CALL["content/blocks.yaml"].partition("brand_call: ")[2]
    return {
        **FILES,
        "channels.yaml": CALL["channels.yaml"].replace("web: {", f"web: {{origins: [{', '.join((SITE, *origins))}], "),
        "consents.yaml": CALL["consents.yaml"],
        "placements.yaml": call[1] + call[2] + placements,  # the first that has talking points is the agent's
        "content/blocks.yaml": blocks,
        "actions/cards.yaml": cards,
    }
