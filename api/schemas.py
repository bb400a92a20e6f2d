"""The words on the wire. Strict: unknown fields and loose types are refused, nothing is guessed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from decisioning.identifiers import CUSTOMER_ID_LENGTH_MAX, CUSTOMER_ID_PATTERN, SOURCE_IN_WORDS, SOURCE_PATTERN

REASON_PATTERN = r"^[a-z][a-z0-9_]{0,39}(?!\n)$"
VISITOR_PATTERN = r"^v-[0-9a-f]{32}(?!\n)$"
IN_WORDS = {  # what is told in place of a pattern that a text does not match
    SOURCE_PATTERN: SOURCE_IN_WORDS,
    REASON_PATTERN: "a code like too_expensive: a letter a to z, then up to 39 of a to z, 0 to 9 and _",
    VISITOR_PATTERN: "the visitor_id of an earlier answer: v- and 32 of 0 to 9 and a to f",
}

CustomerId = Annotated[
    str,
    Meta(
        description="Your id of the customer.",
        # Published here and checked by decisioning/identifiers.py, whose refusal says what is wrong.
        extra_json_schema={"pattern": CUSTOMER_ID_PATTERN, "minLength": 1, "maxLength": CUSTOMER_ID_LENGTH_MAX},
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
IdempotencyKey = Annotated[
    str, Meta(min_length=1, max_length=200, description="The same key is counted once; repeats get the first answer.")
]
Instant = Annotated[
    str,
    Meta(
        max_length=40,
        description="RFC 3339, for example 2026-11-21T09:30:00Z.",
        extra_json_schema={"format": "date-time"},
    ),
]
ResponseOutcome = Literal[
    "rendered",
    "impression",
    "machine_open",
    "clicked",
    "accepted",
    "rejected",
    "dismissed",
    "converted",
    "no_response",
    "undelivered",
]

LawfulBasis = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interest"
]


class Strict(Struct, forbid_unknown_fields=True, kw_only=True):
    """A body whose every field is known."""


class CustomerRef(Strict):
    """Who is asked about."""

    id: CustomerId


class DecisionRequest(Strict):
    """What should this customer see in these placements, now?"""

    customer: CustomerRef
    channel: Name
    placements: Annotated[
        list[Name], Meta(min_length=1, max_length=20, description="Each at most once; filled in this order.")
    ]
    context: dict[str, Any] = {}
    sending: Annotated[
        bool, Meta(description="The answer goes out now, unasked for: the channel's quiet hours count.")
    ] = False
    dry_run: bool = False
    explain: bool = False
    idempotency_key: IdempotencyKey | UnsetType = UNSET


class PlacementAnswer(Struct, kw_only=True):
    """The outcome of one placement, with content ready to show."""

    placement: str
    outcome: Literal["offer", "message", "nothing"]
    action: str | None
    treatment: str | None
    rank: int
    content: dict[str, Any] | None
    reasons: list[str]
    propensity: float | None
    uplift: float | None
    priority: float | None
    expected_value: float | None
    selection_probability: float | None
    lease_of: str | None
    event_token: str | None


class VersionsAnswer(Struct, kw_only=True):
    """What decided."""

    strategy: str
    model: str
    model_state: str | None


class DecisionAnswer(Struct, kw_only=True):
    """The whole answer."""

    decision_id: str
    customer_id: str
    profile_found: bool
    valid_until: str
    degraded: bool
    holdout: bool
    arms: dict[str, str]
    arm_probability: float | None
    versions: VersionsAnswer
    placements: list[PlacementAnswer]
    explanation: list[dict[str, Any]] | UnsetType = UNSET


class ResponseRequest(Strict):
    """What came of an action: name it by event_token, by decision_id and placement, or, for a conversion, by customer
    and action or product.
    """

    outcome: ResponseOutcome
    event_token: Annotated[str, Meta(max_length=2000)] | UnsetType = UNSET
    decision_id: Annotated[str, Meta(max_length=80)] | UnsetType = UNSET
    placement: Name | UnsetType = UNSET
    customer: CustomerRef | UnsetType = UNSET
    action: Name | UnsetType = UNSET
    product: Name | UnsetType = UNSET
    channel: Name | UnsetType = UNSET
    value: Annotated[float, Meta(ge=-1e12, le=1e12)] | UnsetType = UNSET
    reason: (
        Annotated[str, Meta(pattern=REASON_PATTERN, description="Why, as a code of yours: too_expensive.")] | UnsetType
    ) = UNSET
    at: Instant | UnsetType = UNSET
    idempotency_key: IdempotencyKey | UnsetType = UNSET


class ResponseBatch(Strict):
    """Up to 1,000 responses; a fault in one refuses all, a repeat is counted once."""

    responses: Annotated[list[ResponseRequest], Meta(min_length=1, max_length=1000)]


class ResponseAnswer(Struct, kw_only=True):
    """One response as it was taken."""

    response_id: str
    status: Literal["counted", "repeated"]


class ResponseBatchAnswer(Struct, kw_only=True):
    """The batch, in order."""

    responses: list[ResponseAnswer]


class CustomerPatch(Strict):
    """Attributes to set, by name without prefix; null forgets one."""

    attributes: Annotated[dict[str, Any], Meta(min_length=1, max_length=500)]


ConsentSource = Annotated[
    str, Meta(pattern=SOURCE_PATTERN, description="The system that says it; the API key unless stated.")
]


class ConsentStatement(Strict):
    """One permission given or withdrawn."""

    channel: Name
    purpose: Name
    granted: bool
    at: Instant | UnsetType = UNSET
    source: ConsentSource | UnsetType = UNSET
    basis: LawfulBasis = "consent"


ConsentStatements = Annotated[list[ConsentStatement], Meta(min_length=1, max_length=100)]


class CustomerConsent(ConsentStatement, kw_only=True):
    """One permission given or withdrawn by one of many customers."""

    customer: CustomerRef


class ConsentBatch(Strict):
    """Up to 1,000 statements; a fault in one refuses all, a repeat changes nothing."""

    statements: Annotated[list[CustomerConsent], Meta(min_length=1, max_length=1000)]


class SourceAnswer(Struct, kw_only=True):
    """What one source says."""

    at: str
    attributes: dict[str, Any]
    times: dict[str, str]  # of attributes said at another time than `at`


class ConsentAnswer(Struct, kw_only=True):
    """One recorded permission."""

    channel: str
    purpose: str
    granted: bool
    at: str
    version: int
    source: str
    basis: str


class CustomerConsentAnswer(ConsentAnswer, kw_only=True):
    """What holds for one statement of a batch now: the statement, or a newer one."""

    customer_id: str


class ConsentBatchAnswer(Struct, kw_only=True):
    """The batch, in order."""

    consents: list[CustomerConsentAnswer]


class LeaseAnswer(Struct, kw_only=True):
    """One offer promised in every channel."""

    action: str
    decision_id: str
    until: str


class InteractionAnswer(Struct, kw_only=True):
    """One remembered interaction."""

    at: str
    outcome: str
    action: str
    channel: str


class InteractionCountAnswer(Struct, kw_only=True):
    """Older interactions of one UTC day, remembered by their number."""

    day: str
    outcome: str
    action: str
    channel: str
    times: int
    last_at: str


class MailAnswer(Struct, kw_only=True):
    """What a mail showed when its picture was fetched last."""

    placement: str
    decision_id: str
    action: str | None
    at: str
    until: str
    held: Annotated[bool, Meta(description="A machine fetched it, and no person has answered yet.")]


class CustomerAnswer(Struct, kw_only=True):
    """What is known about a customer."""

    customer_id: str
    profile_found: bool
    sources: dict[str, SourceAnswer]
    consents: list[ConsentAnswer]
    lease: list[LeaseAnswer]
    interactions: list[InteractionAnswer]
    interaction_counts: list[InteractionCountAnswer]
    mails: list[MailAnswer]


class Erased(Struct, kw_only=True):
    """The customer is gone."""

    customer_id: str
    erased: bool


class Explanation(Struct, kw_only=True):
    """A recorded decision, decided again from its record: every candidate with the gate or rank it met."""

    decision_id: str
    at: str
    channel: str
    versions: VersionsAnswer
    reproduced: bool | None  # null: the state of the model that decided is gone, and gates alone are told
    placements: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    shadow: dict[str, Any] | None  # what another model would have made of it, where one was scored


class ProblemAnswer(Struct, kw_only=True):
    """What is wrong, where, and the way out."""

    code: str
    message: str
    where: str
