"""Logs: one format for every process of ours, on standard error."""

from __future__ import annotations

import logging


def configure_logging() -> None:
    """Log from INFO up; httpx's own lines hold every URL and stay out."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
