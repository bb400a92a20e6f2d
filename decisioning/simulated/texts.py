"""Texts: what simulated actions say, by product family and language, about 600 bytes to an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decisioning.simulated.attributes import LANGUAGES
from decisioning.simulated.draws import Draws

Texts = Mapping[str, str]  # by language

# By family of products: how it is called.
PRODUCTS: Mapping[str, Texts] = {
    "cards": {"en": "bank card", "de": "Bankkarte"},
    "loans": {"en": "personal loan", "de": "Privatkredit"},
    "savings": {"en": "savings plan", "de": "Sparplan"},
    "insurance": {"en": "home cover", "de": "Hausratversicherung"},
    "investments": {"en": "fund plan", "de": "Fondsplan"},
    "mortgages": {"en": "mortgage", "de": "Baufinanzierung"},
    "loyalty": {"en": "bonus programme", "de": "Bonusprogramm"},
    "relationship": {"en": "yearly review", "de": "Jahresgespräch"},
    "digital": {"en": "banking app", "de": "Banking-App"},
    "education": {"en": "guide to money", "de": "Geldratgeber"},
    "account_care": {"en": "account service", "de": "Kontoservice"},
    "brand": {"en": "bank next door", "de": "Bank nebenan"},
}

HEADLINES: tuple[Texts, ...] = (
    {"en": "{name}: the {product} for you", "de": "{name}: {product} für Sie"},
    {"en": "Meet {name}, our new {product}", "de": "{name}, neu bei uns: {product}"},
    {"en": "{name} makes more of every month", "de": "{name} macht mehr aus jedem Monat"},
)
GREETING = {"en": "{{{{ customer.first_name | 'Hello' }}}}, ", "de": "{{{{ customer.first_name | 'Guten Tag' }}}}, "}
SENTENCES: tuple[Texts, ...] = (
    {
        "en": "our {product} {name} goes with the way you use your account and costs nothing in the first year.",
        "de": "unser Angebot {name} passt dazu, wie Sie Ihr Konto nutzen, und kostet im ersten Jahr nichts.",
    },
    {
        "en": "It takes three minutes on the phone or in the app, and we answer while you are still there.",
        "de": "Es dauert drei Minuten am Telefon oder in der App, und wir antworten, solange Sie da sind.",
    },
    {
        "en": "You can change or end it at the end of each month, without a letter and without a reason.",
        "de": "Sie können es zum Ende jedes Monats ändern oder beenden, ohne Brief und ohne Grund.",
    },
    {
        "en": "More than forty thousand people in your region have chosen it, and nine in ten would do so again.",
        "de": "Mehr als vierzigtausend Menschen in Ihrer Region haben gewählt, neun von zehn täten es wieder.",
    },
    {
        "en": "If you would rather talk to somebody, your adviser has all the papers on the table already.",
        "de": "Wenn Sie lieber mit jemandem sprechen: Ihre Beratung hat alle Unterlagen schon auf dem Tisch.",
    },
)
CALLS: tuple[Texts, ...] = (
    {"en": "See {name}", "de": "{name} ansehen"},
    {"en": "Get it now", "de": "Jetzt sichern"},
    {"en": "Find out more", "de": "Mehr erfahren"},
)
POINTS: tuple[Texts, ...] = (
    {
        "en": "Ask what the customer thinks of {name}, and whether the letter of last month has arrived at all.",
        "de": "Fragen Sie, was der Kunde von {name} hält und ob der Brief vom letzten Monat angekommen ist.",
    },
    {
        "en": "Say that our {product} costs nothing in the first year and that it ends without a notice.",
        "de": "Sagen Sie, dass {product} im ersten Jahr nichts kostet und ohne Kündigung endet.",
    },
    {
        "en": "Offer to send the papers by mail while you talk; the rate has to be named before anything is signed.",
        "de": "Bieten Sie an, die Unterlagen gleich zu senden; der Zins ist vor der Unterschrift zu nennen.",
    },
)
ACCEPT, REJECT = {"en": "Wants it", "de": "Möchte es"}, {"en": "Not interested", "de": "Kein Interesse"}
BODY_SENTENCES = 4  # with headline, picture and link about 600 bytes


def page_content(draws: Draws, family: str, name: str) -> dict[str, Any]:
    """What a web page or a mail shows."""
    start = draws.whole(0, len(SENTENCES) - 1)
    rest = [SENTENCES[(start + index) % len(SENTENCES)] for index in range(BODY_SENTENCES)]
    sentences = [SENTENCES[0], *(each for each in rest if each is not SENTENCES[0])][:BODY_SENTENCES]
    body = {tag: GREETING[tag] + " ".join(sentence[tag] for sentence in sentences) for tag in LANGUAGES}
    address = f"https://bank.example/{family}/{name}"
    return {
        "headline": _said(draws.one(HEADLINES), family, name),
        "body": _said(body, family, name),
        "image": f"{address}.png",
        "cta": {"label": _said(draws.one(CALLS), family, name), "url": address},
    }


def call_content(family: str, name: str) -> dict[str, Any]:
    """What an agent says."""
    return {
        "talking_points": [_said(each, family, name) for each in POINTS],
        "accept_label": ACCEPT,
        "reject_label": REJECT,
    }


def _said(texts: Texts, family: str, name: str) -> dict[str, str]:
    shown = name.replace("_", " ").title()
    return {tag: texts[tag].format(name=shown, product=PRODUCTS[family][tag]) for tag in LANGUAGES}
