"""Load test: measures a running service from outside, over HTTP and /proc; see __main__.py."""
