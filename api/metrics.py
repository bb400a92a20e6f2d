"""Metrics: what `/metrics` shows. Labels come from closed sets, never from customers or ids; docs/metrics.md explains
each.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512)

REQUESTS = Counter("requests_total", "Requests by endpoint (route template) and status.", ["endpoint", "status"])
LATENCY = Histogram(
    "request_latency_seconds", "From the start of a request to its answer.", ["endpoint"], buckets=LATENCY_BUCKETS_S
)
PLACEMENTS = Counter(
    "placements_total", "Placements answered, by outcome and by what filled them.", ["outcome", "filled_by"]
)
DROPS = Counter("candidates_dropped_total", "Candidates removed, by reason.", ["reason"])
DEGRADED = Counter("decisions_degraded_total", "Answers given without all parts, by cause.", ["cause"])
RACES_LOST = Counter("commits_lost_total", "Commits that met a newer state and decided again.")
RESTOCKS = Counter("restocks_total", "Blocks of budgets that were asked to be restocked, by result.", ["result"])
OVERRUNS = Counter("overruns_total", "Acceptances that came when no budget could pay for them any more.")
RESPONSES = Counter(
    "responses_total", "Responses, by outcome and whether they were counted or repeated.", ["outcome", "status"]
)
JOURNAL = Counter("journal_entries_total", "Entries of the journal, by what happened to them.", ["what"])
MAIL = Counter(
    "mail_fetches_total",
    "Fetches of mails' pictures and links, by form, client and what was shown.",
    ["form", "client_class", "shown"],
)
DEPLOYMENTS = Counter(
    "deployments_total", "Strategies, models and model states taken up or refused while running.", ["part", "result"]
)
MODEL_STATE = Gauge("model_state", "Number of the state that decides; 0: as trained.", multiprocess_mode="livemin")
MODEL_STATE_AGE = Gauge(
    "model_state_age_seconds", "Since a newer state of the current model was taken up.", multiprocess_mode="livemax"
)
CHALLENGED = Counter("challenged_total", "Recorded decisions of persons for whom the challenger decides.")
SHADOW_ERRORS = Counter("shadow_errors_total", "Decisions that the shadow could not be scored for.")
READY = Gauge("ready", "1 when strategy, model and store are there.", multiprocess_mode="livemin")

for _each in (REQUESTS, LATENCY, PLACEMENTS, DROPS):  # what every decision counts; a look-up by `labels` takes a lock
    _each.labels = cache(_each.labels)  # type: ignore[assignment, method-assign]  # on the object; the class keeps its own
