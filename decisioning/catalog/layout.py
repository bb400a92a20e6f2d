"""Layout: the files of a strategy directory and the shape of each. docs/strategy.md explains them to authors."""

from __future__ import annotations

import re

from decisioning.catalog.outcomes import DROP_REASONS, REMEMBERED_OUTCOMES
from decisioning.catalog.shape import (
    DOTTED,
    WORD,
    Anything,
    Expression,
    Flag,
    Listed,
    Named,
    Number,
    Record,
    Shape,
    Text,
)

ATTRIBUTE_TYPES = ("int", "double", "string", "bool", "timestamp", "list<string>")
FIELD_TYPES = ("text", "html", "url", "image", "link", "texts")
SCOPES = ("action", "group", "issue", "channel", "customer")
KEY_DEPTH = {"issue": 1, "group": 2, "action": 3}  # scope -> how much of issue/group/action is its key
BEHAVIOURS = ("positive", "negative", "neutral")
LAWFUL_BASES = ("consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interest")

NAME = Text(WORD, "a name of lower-case letters, digits and _")
PLACEMENT = Text(DOTTED, "a name like web.home.hero")
LANGUAGE = Text(re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*"), "a language tag like en or pt-BR")
ATTRIBUTE_PATH = Text(re.compile(r"customer\.[a-z][a-z0-9_]*"), "an attribute like customer.language")
ACTION_KEY = Text(re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*){2}"), "an action like grow/cards/gold_upgrade")
TARGETS = Listed(
    Text(re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*){0,2}"), "an issue, group or action like grow/cards"), least=1
)
CLOCK = Text(re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]"), "a time of day like 22:00")
DAY = Text(
    re.compile(r"(mon|tues|wednes|thurs|fri|satur|sun)day|[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "a day like sunday or 2026-12-25",
)
ORIGIN = Text(
    re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?|http://(localhost|127\.0\.0\.1)(:[0-9]{1,5})?"),
    "an origin like https://bank.example, in lower case and without a path",
)
PIXELS = Text(re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}"), "pixels like 1200x400")
COLOR = Text(re.compile(r"#[0-9A-Fa-f]{6}"), 'a colour in quotes like "#1B2A41"')
QUIET = Text(
    re.compile(r"#[0-9A-Fa-f]{6}|[a-z][a-z0-9_]{0,63}"),
    'a colour in quotes like "#F6F3EC", or the name of a content block',
)
SCHEME = Text(re.compile(r"[a-z][a-z0-9+.-]{1,31}"), "the scheme of an address, like tel or bankapp")
BACKGROUND = Text(
    re.compile(r"#[0-9A-Fa-f]{6}( to #[0-9A-Fa-f]{6})?"), 'a colour like "#F6F3EC", or "#F6F3EC to #E7EDF2" downwards'
)
PLACE = Listed(Number(0, 1200, whole=True), least=2)
FONT = Number(8, 200, whole=True)
CURRENCY = Text(re.compile(r"[A-Z]{3}"), "three capital letters like EUR")
MONEY = Number(0.0, 1e9)
FACTOR = Number(0.0, 1e6)  # a lever or weight; bounded, so that no product of them leaves the numbers
SHARE = Number(0.0, 1.0)
DAYS = Number(0.0, 36_500.0)
RULES = Listed(Expression())

STRATEGY = Record(
    required={
        "name": Text(),
        "currency": CURRENCY,
        "timezone": Text(),
        "languages": Listed(LANGUAGE, least=1),
        "ranking": Text(words=("gross", "incremental")),
    },
    optional={
        "language_attribute": ATTRIBUTE_PATH,
        "timezone_attribute": ATTRIBUTE_PATH,
        "link_schemes": Listed(SCHEME),
        "holdout": Record({"share": SHARE, "salt": Text(), "gets": Text(words=("nothing",))}),
        "exploration": Record(
            optional={
                "sacrifice": Number(0.001, 0.5),
                "scale_min": Number(1e-6, 1e9),
                "launch_share": Number(0.0, 0.05),  # no more than all launches together may take
                "launch_impressions": Number(0, 1_000_000, whole=True),
                "placements": Listed(PLACEMENT, least=1),
                "issues": Listed(NAME, least=1),
            }
        ),
    },
)

CHANNELS = Named(
    Record(
        required={
            "direction": Text(words=("inbound", "outbound")),
            "lease_minutes": Number(1, 527_040, whole=True),
            "contact_cost": MONEY,
        },
        optional={
            "quiet_hours": Listed(CLOCK, least=2),
            "quiet_days": Listed(DAY, least=1),
            "origins": Listed(ORIGIN, least=1),
        },
    )
)

_TEXT_LOOK: dict[str, Shape] = {
    "font_min": FONT,
    "weight": Text(words=("regular", "bold")),
    "align": Text(words=("left", "center", "right")),
}
PICTURE = Record(
    required={
        "size": PIXELS,
        "background": BACKGROUND,
        "boxes": Listed(
            Record(
                {"field": NAME, "at": PLACE, "size": PIXELS, "font": FONT, "color": COLOR},
                {
                    **_TEXT_LOOK,
                    "valign": Text(words=("top", "middle", "bottom")),
                    "lines": Number(1, 20, whole=True),
                },
            ),
            least=1,
        ),
    },
    optional={
        "image": Record({"file": Text()}, {"at": PLACE, "size": PIXELS}),
        "button": Record(
            {"field": NAME, "at": PLACE, "size": PIXELS, "font": FONT, "color": COLOR, "background": COLOR},
            {**_TEXT_LOOK, "radius": Number(0, 200, whole=True)},
        ),
    },
)

PLACEMENTS = Named(
    Record(
        required={
            "channel": NAME,
            "nothing_value": MONEY,
            "fields": Named(
                Record(
                    required={"type": Text(words=FIELD_TYPES)},
                    optional={"max": Number(1, 100_000, whole=True), "required": Flag(), "size": PIXELS},
                )
            ),
            "fallback": NAME,
        },
        optional={
            "count": Number(1, 10, whole=True),
            "default_url": Text(),
            "one_per_group": Flag(),
            "picture": PICTURE,
            "quiet": QUIET,
        },
    ),
    DOTTED,
    "a name like web.home.hero",
)

_CONTEXT_ATTRIBUTE: dict[str, Shape] = {
    "min": Number(),
    "max": Number(),
    "enum": Listed(Text(), least=1),
    "personal": Flag(),
    "allowed_for": Listed(NAME, least=1),
    "feature": Flag(),
}
_TYPE: dict[str, Shape] = {"type": Text(words=ATTRIBUTE_TYPES)}

SCHEMA = Record(
    required={
        "purposes": Listed(NAME, least=1),
        "customer": Named(
            Record(_TYPE, {**_CONTEXT_ATTRIBUTE, "source": NAME, "stale_after_days": Number(0.001, 36_500.0)})
        ),
    },
    optional={"context": Named(Record(_TYPE, _CONTEXT_ATTRIBUTE))},
)

DERIVED = Named(Record({"expression": Expression()}, _TYPE))

TABLE = Record(
    {
        "gives": Record(optional={"derived": NAME, **dict.fromkeys(("lever", "value", "context_weight"), TARGETS)}),
        "hits": Text(words=("first", "all")),
        "columns": Listed(Anything(), least=1),  # tables.py knows what a column, and a row below it, may hold
        "rows": Listed(Anything(), least=1),
    }
)

CONSENTS = Named(
    Named(Record({"absent": Text(words=("granted", "refused")), "basis": Text(words=LAWFUL_BASES)})),
)

CONTACT_POLICIES = Named(
    Record(
        required={
            "scope": Text(words=SCOPES),
            "outcomes": Listed(NAME, least=1),
            "limit": Number(1, 10_000, whole=True),
            "window_days": Number(0.001, 36_500.0),  # nothing lies within a window of no length
            "hold_days": DAYS,
        },
        optional={"channel": NAME},
    )
)

AMOUNT = Number(0.001, 1e9)  # of money or pieces: on a counter in thousandths at most, far below what a float can hold
VOLUME_CONSTRAINTS = Named(
    Record(
        required={
            "limit": AMOUNT,
            "unit": Text(words=("money", "number")),
            "scope": Text(words=("action", "group", "issue", "channel", "all")),
            "period": Text(words=("day", "total")),
            "spend_on": Text(words=("selected", "accepted")),
        },
        optional={"channel": NAME},
    )
)

EXPERIMENTS = Named(Record({"salt": Text(), "arms": Named(SHARE)}))

ACTION = Record(
    required={
        "kind": Text(words=("offer", "message")),
        "purpose": NAME,
        "treatments": Named(
            Record({"placements": Listed(PLACEMENT, least=1), "content": Named(Anything())}),
        ),
    },
    optional={
        "action_value": MONEY,
        "brand_value": MONEY,
        "lever": FACTOR,
        "mandatory": Flag(),
        "product": Text(),
        "start": Text(),
        "end": Text(),
        "eligibility": RULES,
        "applicability": RULES,
        "suitability": RULES,
        "context_weights": Listed(Record({"when": Expression(), "weight": FACTOR})),
        "contact_policies": Listed(NAME),
        "volume_constraints": Named(AMOUNT),
        "behaviour": Named(Text(words=BEHAVIOURS)),
    },
)

ACTIONS = Record({"issue": NAME, "group": NAME, "actions": Named(ACTION)})

BLOCKS = Named(Named(Anything()))

PERSONA = Record(
    required={
        "name": Text(),
        "channel": NAME,
        "placements": Listed(PLACEMENT, least=1),
        "expect": Named(Record({"outcome": Text(words=("offer", "message", "nothing"))}, {"action": ACTION_KEY}), None),
    },
    optional={
        "customer": Named(Anything()),
        "consents": Listed(Record({"channel": NAME, "purpose": NAME, "granted": Flag()})),
        "history": Listed(
            Record(
                {"outcome": Text(words=REMEMBERED_OUTCOMES), "action": ACTION_KEY, "channel": NAME, "days_ago": DAYS}
            )
        ),
        "context": Named(Anything()),
        "at": Text(),
        "sending": Flag(),
        "propensities": Named(SHARE, None),
        "expect_dropped": Named(Text(words=DROP_REASONS), None),
    },
)

# Every path of a strategy directory and the shape of its YAML; None: not YAML. Other files are faults.
FILES: tuple[tuple[re.Pattern[str], Shape | None], ...] = (
    (re.compile(r"strategy\.yaml"), STRATEGY),
    (re.compile(r"channels\.yaml"), CHANNELS),
    (re.compile(r"placements\.yaml"), PLACEMENTS),
    (re.compile(r"schema\.yaml"), SCHEMA),
    (re.compile(r"derived\.yaml"), DERIVED),
    (re.compile(r"tables/[^/]+\.yaml"), TABLE),
    (re.compile(r"consents\.yaml"), CONSENTS),
    (re.compile(r"contact_policies\.yaml"), CONTACT_POLICIES),
    (re.compile(r"volume_constraints\.yaml"), VOLUME_CONSTRAINTS),
    (re.compile(r"experiments\.yaml"), EXPERIMENTS),
    (re.compile(r"actions/[^/]+\.yaml"), ACTIONS),
    (re.compile(r"content/blocks\.yaml"), BLOCKS),
    (re.compile(r"personas/[^/]+\.yaml"), PERSONA),
    (re.compile(r"content/images/[^/]+\.(png|jpg|jpeg|gif|webp|svg)"), None),
)
REQUIRED_FILES = (
    "strategy.yaml",
    "channels.yaml",
    "placements.yaml",
    "schema.yaml",
    "consents.yaml",
    "content/blocks.yaml",
)

# What may lie in the same directory without being part of the strategy: changing it makes no new version.
FOLDERS_BESIDE = frozenset({"generated", "__pycache__"})
FILES_BESIDE = re.compile(r"(.*/)?README\.md|[^/]+\.py|mapping\.yaml")


def shape_of(path: str) -> tuple[bool, Shape | None]:
    """Whether a strategy may have this file, and the shape of its YAML."""
    for pattern, shape in FILES:
        if pattern.fullmatch(path):
            return True, shape
    return False, None
