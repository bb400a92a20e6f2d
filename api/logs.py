"""Logs: one format for every process of ours, on standard error."""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Lines(logging.Formatter):
    """A line begins with its time; what a message or an exception adds stands below it, indented.

    Errors quote what came from outside, and nobody out there is to write a line of ours or to colour a terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return "\n    ".join(_printable(line) for line in super().format(record).split("\n"))


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def configure_logging() -> None:
    """Log from INFO up; httpx's own lines hold every URL and stay out."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
