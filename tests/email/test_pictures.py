"""Drawing: what comes out is a small, opaque picture of the right size, the same for the same content."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.email.canvas import BYTES_MAX
from api.email.pictures import Drawing, Pictures, prepare, quiet
from api.email.typeface import typeface
from decisioning.catalog.load import load_bundle
from decisioning.catalog.picture import Area, Picture
from tests.catalog.test_pictures import HERO, with_hero
from tests.email.specs import backdrop, box, button, picture

CONTENT: dict[str, Any] = {
    "headline": "Your money, looked after",
    "cta": {"label": "See how", "url": "https://b.example"},
}


def opened(drawing: Drawing) -> Image.Image:
    image = Image.open(io.BytesIO(drawing.content))
    image.load()
    return image


def pixels(drawing: Drawing) -> np.ndarray[Any, Any]:
    return np.asarray(opened(drawing).convert("RGB")).astype(np.int16)


def file_of(image: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def photograph(width: int = 600, height: int = 200) -> bytes:
    """Many colours and much detail, as a camera gives."""
    random = np.random.default_rng(5)
    coarse = Image.fromarray(random.integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8), "RGB")
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = np.clip(smooth + random.integers(-12, 12, smooth.shape), 0, 255).astype(np.uint8)
    return file_of(Image.fromarray(noisy, "RGB"), "JPEG")


SPECS = {
    "plain": picture(),
    "gradient": picture(background=("#FFF7E8", "#D8E6F0")),
    "from black to white": picture(background=("#000000", "#FFFFFF")),
    "photograph": picture(backdrop=backdrop(photograph())),
    "half transparent file": picture(backdrop=backdrop(file_of(Image.new("RGBA", (50, 50), (200, 40, 40, 90))))),
    "fine pattern": picture(backdrop=backdrop(file_of(Image.effect_noise((1200, 400), 3).convert("RGB")))),
    "large": picture(box(area=Area(0, 0, 1200, 600), font=90, lines=5), width=1200, height=600),
}


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_picture_is_opaque_small_and_of_the_exact_size(spec: Picture, scale: int) -> None:
    drawing = Pictures().draw(spec, CONTENT, scale=scale)

    image = opened(drawing)
    assert image.size == (spec.width * scale, spec.height * scale)
    assert image.mode in ("P", "RGB") and "transparency" not in image.info
    assert drawing.media_type == {"PNG": "image/png", "JPEG": "image/jpeg"}[image.format or ""]
    assert len(drawing.content) < BYTES_MAX and drawing.flaws == ()


def test_few_colours_make_a_png_and_a_photograph_a_jpeg() -> None:
    assert Pictures().draw(SPECS["gradient"], CONTENT, scale=2).media_type == "image/png"
    assert Pictures().draw(SPECS["photograph"], CONTENT, scale=2).media_type == "image/jpeg"


def test_text_is_drawn_in_its_colour_on_what_is_behind_it() -> None:
    spec = picture(
        box(area=Area(20, 20, 560, 160), font=120, weight="bold", color="#102030"), background=("#F0F0FF", "#FFF0F0")
    )
    blank, drawn = (pixels(Pictures().draw(spec, {"headline": text}, scale=2)) for text in ("", "II"))

    changed = (blank != drawn).any(axis=2)
    shades = drawn[changed]
    assert (np.abs(shades - np.array([0x10, 0x20, 0x30])).max(axis=1) == 0).mean() > 0.8  # all but the edges
    assert (blank[0, 0] == [0xF0, 0xF0, 0xFF]).all() and (drawn[-1, -1] == [0xFF, 0xF0, 0xF0]).all()


def test_edges_are_blends_of_text_and_background_to_a_few_levels() -> None:
    spec = picture(box(area=Area(0, 0, 600, 200), font=60, color="#FFFFFF"), background=("#203040", "#28384A"))

    drawn = pixels(Pictures().draw(spec, {"headline": "Sage & Örö"}, scale=2)).reshape(-1, 3)

    dark, light = np.array([0x20, 0x30, 0x40]), np.array([255, 255, 255])
    share = ((drawn - dark) @ (light - dark)) / float((light - dark) @ (light - dark))
    assert np.abs(drawn - (dark + share[:, None] * (light - dark))).max() < 14


def test_a_button_is_as_wide_as_its_label_needs_and_gone_without_one() -> None:
    def covered(label: str | None, align: str = "left") -> Any:
        spec = replace(picture(button=button(align=align)), boxes=())
        blank = pixels(Pictures().draw(spec, {}, scale=1))
        content = {} if label is None else {"cta": {"label": label, "url": ""}}
        drawn = pixels(Pictures().draw(spec, content, scale=1))
        columns = np.nonzero((blank != drawn).any(axis=(0, 2)))[0]
        return (int(columns[0]), int(columns[-1]) + 1) if columns.size else None

    assert covered(None) is None and covered("🎉") is None
    short, long = covered("Yes"), covered("Tell me all about it")
    assert short == (20, 100) and long is not None and long[0] == 20 and 180 < long[1] <= 220
    assert covered("Yes", "right") == (140, 220) and covered("Yes", "center") == (80, 160)


def test_the_same_content_gives_the_same_bytes_and_is_kept() -> None:
    pictures = Pictures()
    one = pictures.draw(picture(), CONTENT, scale=2)

    assert pictures.draw(picture(), {**CONTENT, "body": "not drawn"}, scale=2) is one
    assert Pictures().draw(picture(), CONTENT, scale=2).content == one.content
    assert pictures.draw(picture(), CONTENT, scale=1) is not one


@pytest.mark.parametrize("spec", [SPECS["gradient"], SPECS["photograph"]], ids=["png", "jpeg"])
def test_the_bytes_do_not_depend_on_what_was_drawn_before(spec: Picture) -> None:
    busy = Pictures()
    for number in range(6):
        busy.draw(spec, {"headline": "WM&@#" * 8 + str(number), "cta": {"label": "%%%%"}}, scale=2)

    assert busy.draw(spec, CONTENT, scale=2).content == Pictures().draw(spec, CONTENT, scale=2).content


def test_texts_that_only_read_alike_when_joined_are_different_pictures() -> None:
    spec = picture(box("one"), box("two", Area(20, 100, 300, 70)))
    pictures = Pictures()

    assert pictures.draw(spec, {"one": "a", "two": "bc"}, scale=1) is not pictures.draw(
        spec, {"one": "ab", "two": "c"}, scale=1
    )


def test_what_is_kept_is_bounded_in_bytes_and_the_oldest_goes_first() -> None:
    pictures = Pictures(kept_bytes_max=40_000)
    first = pictures.draw(picture(), CONTENT, scale=1)
    for number in range(40):
        pictures.draw(picture(), {"headline": f"number {number}"}, scale=1)
        pictures.draw(picture(), {"headline": "asked for again and again"}, scale=1)
        assert pictures.kept_bytes <= 40_000

    again = pictures.draw(picture(), CONTENT, scale=1)
    assert again is not first and again.content == first.content


def test_nothing_of_a_name_is_kept_as_text() -> None:
    pictures = Pictures()
    pictures.draw(picture(), {"headline": "Dear Ermintrude"}, scale=1)

    assert b"Ermintrude" not in b"".join(pictures._kept)


def test_threads_draw_what_one_alone_draws() -> None:
    texts = [f"{word} {number}" for number in range(12) for word in ("Ünnep", "Праздник", "Fest & Ω")]
    alone = Pictures(kept_bytes_max=0)
    expected = [alone.draw(picture(), {"headline": text}, scale=2).content for text in texts]
    for weight in ("regular", "bold"):
        typeface(weight).forget()
    shared = Pictures(kept_bytes_max=200_000)

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda text: shared.draw(picture(), {"headline": text}, scale=2).content, texts * 3))

    assert drawn == expected * 3


def test_letters_in_memory_are_bounded() -> None:
    face = typeface("regular")
    random = Random(3)
    for _ in range(200):
        face.glyph(chr(random.randint(0x410, 0x44F)), random.choice([300, 310, 320]) * 2, 0)
        assert face._glyph_bytes < 18 << 20
    face.forget()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, photograph()[:400]])
def test_a_file_that_is_no_picture_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"content/images/sun\.png cannot be read"):
        Pictures().draw(picture(backdrop=backdrop(content)), CONTENT, scale=1)


def test_a_file_of_too_many_pixels_is_refused_before_it_is_read() -> None:
    huge = file_of(Image.new("1", (5_000, 4_000)))

    with pytest.raises(ValueError, match="cannot be read as a picture"):
        Pictures().draw(picture(backdrop=backdrop(huge)), CONTENT, scale=1)


@pytest.mark.parametrize(
    "content",
    [
        {"headline": None, "cta": None},
        {"headline": ["a", "list"], "cta": {"label": 5}},
        {"headline": "<script>alert(1)</script> {{ x }} &amp;", "cta": {"label": '"><img src=x>'}},
        {"headline": "שלום עולם مرحبا", "cta": {"label": "👩‍💻"}},
        {"headline": "\ud800\udfff\x00", "cta": {}},
        {"headline": "n" * 5_000, "cta": {"label": "n" * 5_000}},
    ],
)
def test_any_content_gives_a_picture(content: dict[str, Any]) -> None:
    assert opened(Pictures().draw(picture(), content, scale=2)).size == (1200, 400)


def test_quiet_claims_nothing_and_fallback_is_ready_in_every_language() -> None:
    pictures = Pictures()
    strategy = load_bundle(with_hero(HERO))
    prepared = prepare(strategy, pictures)

    assert prepared.keys() == {"email.hero"}
    ready = prepared["email.hero"]
    assert ready.fallback.keys() == {(language, scale) for language in strategy.languages for scale in (1, 2)}
    assert len({drawing.content for drawing in ready.fallback.values()}) > 2
    for scale, drawing in ready.quiet.items():
        colors = opened(drawing).convert("RGB").getcolors()
        assert opened(drawing).size == (600 * scale, 200 * scale) and len(drawing.content) < 2_000
        assert colors is not None and max(colors)[1] == (0xF0, 0xF0, 0xF0) and max(colors)[0] > 118_000 * scale**2


def test_on_a_dark_mail_the_line_of_quiet_is_light() -> None:
    dark = pixels(quiet(picture(), "#101010", 1))

    assert dark[0, 0].tolist() == [16, 16, 16] and 16 < dark.max() < 60
