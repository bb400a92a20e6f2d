"""Experiments: who is held out and which arm a person is in."""
