"""The page of claims follows its format, and the runner tells a claim that holds from one that does not."""

from __future__ import annotations

import pytest

from tests.evidence import PAGE, Claim, PageFaulty, main, prove, read_claims

SECTION = """\
## {claim_id}

Water is wet.

```sh
{command}
```

- Figures: 1 of 1,
  measured by hand
- Hardware: any
- Date: 2026-11-21
"""


def claim(command: str) -> Claim:
    return read_claims(SECTION.format(claim_id="water.1", command=command))[0]


def test_every_claim_of_the_page_is_complete() -> None:
    assert read_claims(PAGE.read_text())


def test_a_claim_is_read_whole() -> None:
    assert claim("true") == Claim("water.1", "Water is wet.", "true", "1 of 1, measured by hand", "any", "2026-11-21")


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        (SECTION.format(claim_id="water.1", command="true").replace("- Date", "- When"), "no line '- Date"),
        (SECTION.format(claim_id="water.1", command="true").replace("```sh", "```text"), "0 shell blocks"),
        (SECTION.format(claim_id="water.1", command="true").replace("Water is wet.", ""), "says nothing"),
        (SECTION.format(claim_id="water.1", command="true") * 2, "occurs twice"),
    ],
)
def test_an_incomplete_claim_is_refused(page: str, fault: str) -> None:
    with pytest.raises(PageFaulty, match=fault):
        read_claims(page)


def test_claims_are_proved_by_the_exit_of_their_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert prove([claim("true")])
    assert not prove([claim("true"), claim("false; true")])

    assert "1 of 2 claims hold" in capfd.readouterr().out


def test_an_unknown_claim_is_named_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["water.7"]) == 2
    assert "unknown claim 'water.7'. Known: main-job." in capsys.readouterr().err
