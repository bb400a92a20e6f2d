"""Sizes of picture files, and the placements that they fit."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from decisioning.catalog.pixels import fits, size_of
from tests.catalog.strategies import faults_of, small

HERO = "content/images/hero_gold.png"


def file(form: str, width: int = 300, height: int = 100, mode: str = "RGB", **options: Any) -> bytes:
    """A picture file as a designer's programme saves it."""
    buffer = io.BytesIO()
    Image.new(mode, (width, height), 7 if mode == "P" else (90, 20, 200)).save(buffer, form, **options)
    return buffer.getvalue()


FORMS = {
    "png": file("PNG"),
    "indexed png": file("PNG", mode="P"),
    "gif": file("GIF", mode="P"),
    "jpeg": file("JPEG"),
    "progressive jpeg with a comment": file("JPEG", progressive=True, comment=b"\xff\xc0 no frame"),
    "webp": file("WEBP"),
    "lossless webp": file("WEBP", lossless=True),
    "webp with metadata": file("WEBP", exif=b"Exif\0\0II*\0"),
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="300px" height="100"></svg>',
    "svg by its box": b'<svg viewBox="0 0 300 100" xmlns="http://www.w3.org/2000/svg"><path/></svg>',
}


@pytest.mark.parametrize("form", FORMS)
def test_the_size_is_read_whatever_the_form(form: str) -> None:
    assert size_of(FORMS[form]) == (300, 100)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_breaks_off_anywhere_gives_its_size_or_none(form: str) -> None:
    whole = FORMS[form]

    assert {size_of(whole[:length]) for length in range(min(len(whole), 600))} <= {None, (300, 100)}


@pytest.mark.parametrize(
    "content", [b"", b"png", b"<html>", b"\xff\xd8\xff\xda\x00\x04", b"RIFF....WEBPVP9 " + bytes(40)]
)
def test_what_is_no_picture_has_no_size(content: bytes) -> None:
    assert size_of(content) is None


@pytest.mark.parametrize(
    ("name", "size", "is_fitting"),
    [
        ("a.png", (300, 100), True),
        ("a.png", (600, 200), True),
        ("a.png", (900, 300), True),
        ("a.png", (450, 150), False),  # a browser would blur it
        ("a.png", (150, 50), False),
        ("a.png", (300, 200), False),
        ("a.svg", (30.0, 10.0), True),
        ("a.svg", (30.0, 11.0), False),
    ],
)
def test_what_fits_a_field_of_300x100(name: str, size: tuple[float, float], is_fitting: bool) -> None:
    assert fits(name, size, (300, 100)) is is_fitting


def test_a_file_of_another_size_is_a_fault_for_each_placement_that_it_does_not_fit() -> None:
    found = faults_of(small() | {HERO: file("PNG", 1200, 600)})

    assert found == [
        f"actions/cards.yaml:22:18: {HERO} has 1200x600 pixels, the placement {size}. Save it with {size} pixels, or "
        f"{double} for fine screens"
        for size, double in (("1200x400", "2400x800"), ("600x200", "1200x400"))
    ]


def test_a_file_that_is_no_picture_is_a_fault_where_it_is_named() -> None:
    found = faults_of(small() | {"content/images/brand.png": b"<html>not found</html>"})

    assert [line.split(": ", 1)[0] for line in found] == ["actions/brand.yaml:11:84", "content/blocks.yaml:3:10"]
    assert all(
        "content/images/brand.png is no picture that can be read. Save it again as png" in line for line in found
    )
