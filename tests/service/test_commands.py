"""The command line against a real store: what a person at a terminal reads."""

from __future__ import annotations

from tests.decisioning.bank import GOLD, LOAN
from tests.service.conftest import Installation


def test_why_answers_in_sentences_and_leaves_no_trace(installation: Installation):
    poor, rich = "C-00001", "C-00299"  # incomes of 500 and 6,460

    told = [installation.command("why", customer, GOLD).stdout.splitlines()[1:] for customer in (poor, rich, rich)]

    assert told[0] == [
        f"No offer of '{GOLD}' in {channel}: suitability stops it. The rule `customer.income > 1000.0` needs income, "
        "which is 500.0."
        for channel in ("email", "web")
    ]
    assert [line.split(". ")[0] for line in told[1]] == [
        f"Yes: the offer of '{GOLD}' comes in {channel}" for channel in ("email", "web")
    ]
    assert told[2] == told[1]


def test_why_takes_the_moment_and_names_what_it_does_not_know(installation: Installation):
    context = ("--channel", "web", "--placement", "web.hero", "--context", "page=loans")

    there = installation.command("why", "C-00299", LOAN, *context).stdout
    nobody = installation.command("why", "C-99999", LOAN).stdout
    wrong = installation.command("why", "C-00299", "grow/loans/laon")

    assert f"No offer of '{LOAN}' in web: '{GOLD}' is worth more. Its priority is" in there
    assert "Nothing is known of this customer" in nobody and "context.page, which is unknown" in nobody
    assert wrong.returncode == 1 and f"Did you mean {LOAN}" in wrong.stderr
