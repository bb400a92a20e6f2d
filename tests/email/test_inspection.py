"""Inspection: a strategy whose pictures would come out wrong is told so before anyone opens a mail."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from api.cli.check import check
from api.email.inspection import inspect
from decisioning.catalog.load import load_bundle
from tests.catalog.test_pictures import HERO, with_hero

ROOMY = HERO.replace("font_min: 24, weight: bold", "font_min: 14, weight: bold, lines: 2")
NOW_MS = 1_790_000_000_000


def found_in(old: str = "", new: str = "", files: dict[str, bytes] | None = None) -> list[str]:
    """What inspection says of the small strategy with a picture, with one edit of its placement."""
    assert old in ROOMY
    return [
        str(each) for each in inspect(load_bundle(with_hero(ROOMY.replace(old, new, 1)) | (files or {})), now_ms=NOW_MS)
    ]


def sun(color: str = "#C0A040") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 20), color).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_sound_picture_has_nothing_to_say() -> None:
    assert found_in() == []


def test_a_text_that_does_not_fit_is_named_with_action_language_and_reader() -> None:
    found = found_in("size: 400x36", "size: 60x36")

    assert any(
        line.startswith("actions/brand.yaml:") and "email.hero in en, for somebody unknown: headline" in line
        for line in found
    )
    assert any("is cut, it ends in '" in line and "Shorten the text" in line for line in found)
    assert any(line.startswith("placements.yaml:12:5: email.hero in en, fallback: headline") for line in found)


def test_letters_the_font_lacks_are_named() -> None:
    files = with_hero(ROOMY)
    text = files["content/blocks.yaml"].decode()
    first = text.index("headline:")
    files["content/blocks.yaml"] = (text[:first] + text[first:].replace('"', '"漢 ', 1)).encode()

    (fault, *_) = [str(each) for each in inspect(load_bundle(files), now_ms=NOW_MS)]

    assert "the font has no letter for 漢 (U+6F22)" in fault


def test_contrast_is_measured_on_the_file_behind_a_text() -> None:
    image = "    image: {file: sun.png}\n    button:"

    assert found_in("    button:", image, {"content/images/sun.png": sun("#F8F4E8")}) == []
    dark = found_in("    button:", image, {"content/images/sun.png": sun("#404038")})
    assert any("has a contrast of" in line and "behind it" in line for line in dark)


def test_a_file_that_is_no_picture_is_a_fault_of_the_placement() -> None:
    (fault,) = found_in("    button:", "    image: {file: sun.png}\n    button:", {"content/images/sun.png": b"no"})

    assert fault.startswith("placements.yaml:12:5: content/images/sun.png cannot be read as a picture")


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_check_reports_them_and_fails(tmp_path: Path, form: str) -> None:
    for path, content in with_hero(ROOMY.replace("size: 400x36", "size: 60x36")).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)

    result = CliRunner().invoke(check, [str(tmp_path), "--format", form])

    assert result.exit_code == 1
    assert "email.hero in en, for somebody unknown: headline" in result.output
