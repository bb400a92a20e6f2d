"""`python -m api.cli`: the same as `nextbest`, for processes that start each other before anything is on PATH."""

from api.cli.main import main

main()
