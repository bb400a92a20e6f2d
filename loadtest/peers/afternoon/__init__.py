"""A peer; see server.py."""
