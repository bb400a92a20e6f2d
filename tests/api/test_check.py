"""`nextbest check`: what it prints in each format, and when it fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.cli.check import check
from tests.catalog.strategies import small

ROOT = Path(__file__).parents[2]
CARDS = "actions/cards.yaml"
UNKNOWN_TIER = {CARDS: [['card_tier == "classic"', 'card_tier in ["classic", "black"]']]}
MISSPELT = {CARDS: [["customer.age >= 18', '!", "customer.agee >= 18', '!"]]}
EXPECTED_ELSEWHERE = {
    "personas/classic_holder.yaml": [["outcome: offer, action: grow/cards/gold_upgrade", "outcome: nothing"]]
}


def written(folder: Path, edits: dict[str, Sequence[Sequence[str]]]) -> Path:
    """The small strategy with these edits, as a directory."""
    for path, content in small(edits).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def checked(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(check, [str(folder), *options])


@pytest.mark.parametrize("example", ["retail_bank", "bank_calls"])
def test_the_examples_are_clean(example: str) -> None:
    result = checked(ROOT / "examples" / example)

    assert result.exit_code == 0
    assert "0 warnings" in result.output and "as expected" in result.output and "coverage 100%" in result.output


def test_text_names_faults_and_fails(tmp_path: Path) -> None:
    result = checked(written(tmp_path, MISSPELT))

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "actions/cards.yaml:9:29: unknown attribute 'agee'. Known nearby: age, language",
        "1 fault; nothing was tried",
    ]


def test_a_folder_that_is_no_strategy_is_told_in_one_line_and_with_what_is_needed(tmp_path: Path) -> None:
    for path in ("README.md", "notes.txt", "2026/a.csv", "2026/content/b.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "elsewhere").symlink_to("/")

    result = checked(tmp_path)

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f".:1:1: {tmp_path} is no strategy. It needs strategy.yaml, channels.yaml, placements.yaml, schema.yaml, "
        "consents.yaml, content/blocks.yaml and actions/*.yaml; docs/strategy.md shows their form",
        "1 fault; nothing was tried",
    ]


def test_a_strategy_that_has_only_begun_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "actions").mkdir()

    lines = checked(tmp_path).output.splitlines()

    assert "strategy.yaml:1:1: this is missing. Create it; docs/strategy.md shows its form" in lines
    assert lines[-1] == "7 faults; nothing was tried"


def test_warnings_are_told_and_do_not_fail(tmp_path: Path) -> None:
    result = checked(written(tmp_path, UNKNOWN_TIER))

    first, *_, last = result.output.splitlines()
    assert result.exit_code == 0
    assert first.startswith('actions/cards.yaml:10:56: customer.card_tier == "black" is never true. ')
    assert first.endswith(" (warning)")
    assert last.startswith("coverage ")


def test_an_unmet_expectation_fails(tmp_path: Path) -> None:
    result = checked(written(tmp_path, EXPECTED_ELSEWHERE))

    assert result.exit_code == 1
    assert "personas/classic_holder.yaml:1:1: affluent classic holder: web.home.hero: expected outcome nothing" in (
        result.output
    )
    assert "2 personas, 1 expectation unmet" in result.output


CLASSIC, NO_SAYER = "personas/classic_holder.yaml", "personas/rejected_gold.yaml"


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        (
            {CLASSIC: [["balance_avg_3m: 5200.0", "balance_avg_3m: 20.0"]]},
            "No offer of 'grow/cards/gold_upgrade' in web.home.hero: suitability stops it. The rule "
            "`customer.balance_avg_3m > 1500.0` needs balance_avg_3m, which is 20.0. See actions/cards.yaml:11:19.",
        ),
        (
            {CLASSIC: [["grow/cards/gold_upgrade: 0.2", "grow/cards/gold_upgrade: 0.00001"]]},
            "No offer of 'grow/cards/gold_upgrade' in web.home.hero: 'nurture/brand/safe_banking' is worth more.",
        ),
        (
            {NO_SAYER: [["gold_upgrade: applicability", "gold_upgrade: eligibility"]]},
            "expected drop eligibility, got applicability. No offer of 'grow/cards/gold_upgrade' in web.home.hero: "
            'applicability stops it. The rule `history.count("rejected", "action", duration("2160h")) == 0` does not',
        ),
        (
            {CLASSIC: [["mortgage_talk: applicability", "gold_upgrade: eligibility"], ["loans/gold", "cards/gold"]]},
            "got no drop. Yes: the offer of 'grow/cards/gold_upgrade' comes in web.home.hero.",
        ),
        (
            {
                CLASSIC: [
                    ["placements: [web.home.hero]", "placements: [web.home.tile]"],
                    [
                        "expect: {web.home.hero: {outcome: offer, action: grow/cards/gold_upgrade}}",
                        "expect: {web.home.tile: {outcome: message, action: service/account/arrears_help}}",
                    ],
                ]
            },
            "service/account/arrears_help has no treatment in web.home.tile.",
        ),
    ],
)
def test_an_unmet_expectation_names_what_became_of_the_action(
    tmp_path: Path, edits: dict[str, Sequence[Sequence[str]]], told: str
) -> None:
    result = checked(written(tmp_path, edits))

    assert told in result.output


def test_coverage_lists_what_no_persona_flips(tmp_path: Path) -> None:
    plain, listed = checked(written(tmp_path, {})), checked(tmp_path, "--coverage")

    assert "no persona sees this" not in plain.output
    assert "actions/service.yaml:9:19: no persona sees this true: customer.in_arrears" in listed.output


def test_json_is_one_object(tmp_path: Path) -> None:
    sound = json.loads(checked(written(tmp_path / "a", UNKNOWN_TIER), "--format", "json", "--coverage").output)
    faulty = json.loads(checked(written(tmp_path / "b", MISSPELT), "--format", "json").output)
    unmet = json.loads(checked(written(tmp_path / "c", EXPECTED_ELSEWHERE), "--format", "json").output)

    (warning,) = sound["warnings"]
    assert (warning["file"], warning["line"], warning["column"]) == (CARDS, 10, 56)
    assert sound["faults"] == sound["personas"] == []
    assert {
        "file": "actions/service.yaml",
        "line": 9,
        "column": 19,
        "text": "customer.in_arrears",
        "missing": "true",
    } in (sound["coverage"]["unflipped"])
    assert faulty["faults"][0]["way_out"] == "Known nearby: age, language" and faulty["coverage"] is None
    assert unmet["personas"][0]["persona"] == "affluent classic holder"


def test_github_annotates_the_lines_of_a_pull_request(tmp_path: Path) -> None:
    folder = written(tmp_path / "50%, a:b", UNKNOWN_TIER | EXPECTED_ELSEWHERE)

    warning, unmet = checked(folder, "--format", "github").output.splitlines()

    file = f"{tmp_path.as_posix()}/50%25%2C a%3Ab"
    assert warning.startswith(
        f'::warning file={file}/actions/cards.yaml,line=10,col=56::customer.card_tier == "black" is never true. '
    )
    assert unmet.startswith(f"::error file={file}/personas/classic_holder.yaml,line=1,col=1::affluent classic holder: ")
