"""The command line against a real store: what a person at a terminal reads."""

from __future__ import annotations

from pathlib import Path

from tests.decisioning.bank import FILES, GOLD, LOAN
from tests.service.conftest import Installation, write


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


def test_strategies_are_listed_compared_switched_and_rolled_back(installation: Installation, tmp_path: Path):
    first = installation.command("strategies", "list").stdout.split()[1]
    files = {**FILES, "actions/cards.yaml": FILES["actions/cards.yaml"].replace("100.0", "120.0")}
    installation.command("publish", str(write(tmp_path / "dearer", files)))
    second = installation.command("strategies", "list").stdout.split()[1]

    told = installation.command("strategies", "diff", first, second).stdout
    to_directory = installation.command("strategies", "diff", second, str(tmp_path / "dearer")).stdout
    switched = installation.command("strategies", "switch", first[:6]).stdout
    again = installation.command("strategies", "switch", first).stdout
    rolled = installation.command("strategies", "rollback").stdout
    rows = installation.command("strategies", "list").stdout.splitlines()
    unknown = installation.command("strategies", "switch", "0000x")

    assert told == f"{GOLD}: action_value 100.0 -> 120.0\n" and to_directory == ""
    assert switched == f"switched to small {first}\n" and again == f"{first} is current already\n"
    assert rolled == f"rolled back to small {second}\n"
    assert [row.split()[:4] for row in rows] == [
        ["*", second, "small", "rollback"],
        [first, "small", "switch", rows[1].split()[3]],
    ]
    assert unknown.returncode == 1 and "strategies list" in unknown.stderr


def test_fmt_changes_a_directory_once_and_check_says_so(installation: Installation, tmp_path: Path):
    files = {
        **FILES,
        "actions/loans.yaml": FILES["actions/loans.yaml"].replace('context.page == "loans"', "context.page=='loans'"),
    }
    folder = str(
        write(
            tmp_path / "bank",
            {
                path: text.replace("'context.page=='loans''", "\"context.page=='loans'\"")
                for path, text in files.items()
            },
        )
    )

    first, wrote, then = (installation.command("fmt", folder, *more) for more in (["--check"], [], ["--check"]))

    assert (first.returncode, first.stdout) == (1, "would change actions/loans.yaml\n")
    assert (wrote.returncode, wrote.stdout) == (0, "changed actions/loans.yaml\n")
    assert (then.returncode, then.stdout) == (0, "")
    assert (tmp_path / "bank/actions/loans.yaml").read_text() == FILES["actions/loans.yaml"]


def test_schema_writes_one_for_each_kind_of_file(installation: Installation, tmp_path: Path):
    told = installation.command("schema", str(tmp_path / "schemas")).stdout

    written = sorted(file.name for file in (tmp_path / "schemas").iterdir())
    assert "actions.json" in written and f"{len(written)} schemas written" in told


def test_load_takes_what_it_can_and_fails_when_rows_were_rejected(installation: Installation, tmp_path: Path):
    bank, table, rejects = write(tmp_path / "bank", FILES), tmp_path / "customers.csv", tmp_path / "[nightly]/no.csv"
    rejects.parent.mkdir()
    words = ("load", str(table), "--strategy", str(bank), "--rejects", str(rejects))

    table.write_text("customer_id,age\nN-1,30\nN-2,5\nN-3,old\nN-4,40\n")
    rejected = installation.command(*words)
    table.write_text("customer_id,age\nN-1,30\nN-2,50\nN-3,35\nN-4,40\n")
    clean = installation.command(*words)

    assert (rejected.returncode, clean.returncode) == (1, 0)
    assert rejected.stdout == f"2 customers loaded, 0 said nothing new, 2 rejected; {rejects} says why\n"
    assert clean.stdout == "2 customers loaded, 2 said nothing new, 0 rejected\n"
    assert "Traceback" not in rejected.stderr
