"""The console: pages for people who work with Nextbest, and the demo that shows all channels for one customer."""
