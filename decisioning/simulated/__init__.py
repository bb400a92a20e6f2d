"""Simulated strategies and customers of any size; see writer.py."""

from decisioning.simulated.writer import Size, write

__all__ = ["Size", "write"]
