"""The edge: HTTP, command line, settings, metrics. It reads a snapshot, lets `decisioning` decide, commits, and
answers.
"""
