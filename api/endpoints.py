"""Endpoints: the API on one page, one row an endpoint. Every one has an owner, which is its scope, and a limit."""

from __future__ import annotations

from api.consents import post_consents, put_consents
from api.customers import delete_customer, get_customer, patch_customer
from api.decide import decide_endpoint, fallback
from api.email.sending import TokensAnswer, TokensRequest, post_tokens
from api.endpoint import KIB, Endpoint
from api.explain import explain_endpoint
from api.respond import respond_endpoint
from api.schemas import (
    ConsentBatch,
    ConsentBatchAnswer,
    ConsentStatements,
    CustomerAnswer,
    CustomerPatch,
    DecisionAnswer,
    DecisionRequest,
    Erased,
    Explanation,
    ResponseAnswer,
    ResponseBatch,
    ResponseBatchAnswer,
    ResponseRequest,
)
from api.service import Service
from api.web.endpoints import web_endpoints

CUSTOMER = "/v1/customers/{customer_id}"
KNOWN = ("invalid_identifier", "not_found")  # error codes of whatever names a customer who must be there


def endpoints(service: Service) -> list[Endpoint]:
    """All endpoints under /v1 and /web."""
    return [
        Endpoint(
            service,
            "POST",
            "/v1/decisions",
            "decide",
            decide_endpoint,
            DecisionAnswer,
            "Decide: an offer, a message, or nothing.",
            DecisionRequest,
            rescue=fallback,
            problems=("unknown_channel", "unknown_placement", "invalid_attribute", "invalid_identifier", "conflict"),
        ),
        Endpoint(
            service,
            "GET",
            "/v1/decisions/{decision_id}",
            "admin",
            explain_endpoint,
            Explanation,
            "Explain a recorded decision.",
            problems=("not_found", "erased"),
        ),
        Endpoint(
            service,
            "POST",
            "/v1/responses",
            "respond",
            respond_endpoint,
            (ResponseAnswer, ResponseBatchAnswer),
            "Report what came of an action.",
            (ResponseRequest, ResponseBatch),
            body_bytes_max=1024 * KIB,
            problems=("invalid_token", "unknown_channel", "conflict", *KNOWN),
        ),
        Endpoint(
            service,
            "POST",
            "/v1/tokens",
            "decide",
            post_tokens,
            TokensAnswer,
            "Make the tokens of a mail.",
            TokensRequest,
            body_bytes_max=1024 * KIB,
            problems=("unknown_placement", "invalid_identifier"),
        ),
        *customer_endpoints(service),
        *web_endpoints(service),
    ]


def customer_endpoints(service: Service) -> list[Endpoint]:
    """What may be read and changed of customers."""
    return [
        Endpoint(
            service, "GET", CUSTOMER, "customers", get_customer, CustomerAnswer, "Read a customer.", problems=KNOWN
        ),
        Endpoint(
            service,
            "PATCH",
            CUSTOMER,
            "customers",
            patch_customer,
            CustomerAnswer,
            "Set attributes.",
            CustomerPatch,
            problems=("invalid_attribute", "invalid_identifier"),
        ),
        Endpoint(
            service, "DELETE", CUSTOMER, "customers", delete_customer, Erased, "Erase a customer.", problems=KNOWN
        ),
        Endpoint(
            service,
            "PUT",
            f"{CUSTOMER}/consents",
            "customers",
            put_consents,
            CustomerAnswer,
            "State consents.",
            ConsentStatements,
            problems=("unknown_channel", "invalid_identifier"),
        ),
        Endpoint(
            service,
            "POST",
            "/v1/consents",
            "customers",
            post_consents,
            ConsentBatchAnswer,
            "State consents of many customers.",
            ConsentBatch,
            body_bytes_max=1024 * KIB,
            problems=("unknown_channel", "invalid_identifier"),
        ),
    ]
