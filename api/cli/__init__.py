"""The command line: `nextbest`, a composition root beside the HTTP app."""

from api.cli.main import main

__all__ = ["main"]
