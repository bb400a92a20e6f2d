"""The web: what a browser may ask by itself, and the snippet that asks for it."""
