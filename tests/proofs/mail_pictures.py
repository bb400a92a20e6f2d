"""Pictures: every picture that a strategy's mails can show, looked at letter by letter and pixel by pixel, and timed.

    python -m tests.proofs.mail_pictures [STRATEGY] [REQUESTS]

Each treatment is drawn in each language for people with names of 2 and of 40 characters, at simple and double size. A
text's pixels are those in which the decoded file differs from the one without it; its letters are placed again with
Pillow's own measures of the font, which drawing does not use. Then CPU time is taken, of drawing in this process and of
a serving process that is asked over HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from api.email.inspection import NAMES
from api.email.pictures import Drawing, Laid, Pictures, laid, texts_of
from api.email.tokens import sealed
from api.email.typeface import _FOLDER, typeface
from api.instants import wall_ms
from api.publications import publish_strategy
from api.tokens import installation_sealer
from decisioning.catalog.load import load_bundle, read_bundle
from decisioning.catalog.picture import Area, Picture
from decisioning.catalog.strategy import Placement, Strategy
from decisioning.customer import Profile, SourceFacts
from decisioning.errors import ContentUnknown
from decisioning.store.embedded import EmbeddedServer
from decisioning.store.protocol import Change
from decisioning.store.redis import connect
from tests.decisioning.bank import FILES as BANK_FILES
from tests.email.post import APPLE, mail_files
from tests.service.conftest import Installation, trained

BANK = Path(__file__).parents[2] / "examples" / "retail_bank"
SCALES = (1, 2)
BYTES_MAX = 60_000
COLD_MS_MAX, AGAIN_MS_MAX = 10.0, 0.5
JPEG_NOISE = 40  # of 255: what leaving a text out of a photograph changes elsewhere
BLUR = 1  # pixels that a letter may reach beyond its measures, since it is drawn to a fraction of one
TRIES = 3
TIMED_EVERY = 4  # of the contents, that timing takes a minute and not four
HOUR_MS = 3_600_000
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One content of one placement, for somebody in some language."""

    words: str
    placement: str
    picture: Picture
    content: Mapping[str, Any]

    def texts(self) -> dict[str, str]:
        """What the picture shows, by field."""
        said = zip(self.picture.texts, texts_of(self.picture, self.content), strict=True)
        return {box.field: text for box, text in said if text}

    def without(self, field_name: str) -> dict[str, Any]:
        return {name: value for name, value in self.content.items() if name != field_name}


def cases_of(strategy: Strategy) -> list[Case]:
    """Everything that a picture can show, each different one once."""
    found: dict[tuple[str, ...], Case] = {}
    for placement in strategy.placements.values():
        if placement.picture is not None:
            for words, content in _contents(placement, strategy):
                case = Case(f"{placement.name}, {words}", placement.name, placement.picture, content)
                found.setdefault((placement.name, *texts_of(placement.picture, content)), case)
    return list(found.values())


def _contents(placement: Placement, strategy: Strategy) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for treatment in placement.candidates.treatments:
        for language in strategy.languages:
            for name in (None, *NAMES):
                customer = {"loyalty_points": 12_345} | ({} if name is None else {"first_name": name})
                try:
                    content = treatment.content.render(language, {"customer": customer})
                except ContentUnknown:
                    continue
                yield f"{treatment.action} in {language} for {name}", content
    for language in strategy.languages:
        yield f"fallback in {language}", placement.fallback.render(language, {})


@dataclass(slots=True)
class Seen:
    """What was looked at, and what is wrong."""

    pictures: int = 0
    texts: int = 0
    letters: int = 0
    bytes_max: int = 0
    media: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Eye:
    """Looks at drawings of one strategy."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.seen = Seen()

    def look(self, case: Case, scale: int) -> None:
        """Judge one picture, as PNG and as JPEG."""
        seen, what = self.seen, f"{case.words} at {scale}x"
        whole = self._pictures.draw(case.picture, case.content, scale=scale)
        for drawing in (whole, self._pictures.draw(case.picture, case.content, scale=scale, as_jpeg=True)):
            seen.pictures += 1
            seen.media[drawing.media_type] += 1
            seen.bytes_max = max(seen.bytes_max, len(drawing.content))
            seen.faults += [f"{what}: {fault}" for fault in faults_of_file(drawing, case.picture, scale)]
        pixels = decoded(whole)
        inks = {name: self._ink(case, name, whole.media_type, pixels, scale) for name in case.texts()}
        shown = laid(case.picture, texts_of(case.picture, case.content))
        for text in shown:
            seen.texts += 1
            seen.letters += sum(len(line.text) for line in text.setting.lines)
            ink = inks[text.field]
            seen.faults += [f"{what}: {text.field} {fault}" for fault in faults_of_text(text, case, ink, scale)]
        if {text.field for text in shown} != inks.keys():
            seen.faults.append(f"{what}: a text is missing")
        for (one, ink), (two, other) in combinations(inks.items(), 2):
            if _overlap(_around(ink), _around(other)):
                seen.faults.append(f"{what}: {one} touches {two}")

    def _ink(self, case: Case, name: str, media_type: str, pixels: NDArray[np.uint8], scale: int) -> NDArray[np.bool_]:
        """The pixels that a text changes."""
        bare = self._pictures.draw(case.picture, case.without(name), scale=scale)
        if media_type == bare.media_type == "image/png":
            changed: NDArray[np.bool_] = pixels != decoded(bare)
        else:
            changed = np.abs(pixels.astype(np.int16) - decoded(bare)) > JPEG_NOISE
        return changed[..., 0] | changed[..., 1] | changed[..., 2]


def decoded(drawing: Drawing) -> NDArray[np.uint8]:
    """The pixels of a file."""
    with Image.open(io.BytesIO(drawing.content)) as image:
        return np.asarray(image.convert("RGB"))


def faults_of_file(drawing: Drawing, picture: Picture, scale: int) -> Iterator[str]:
    """What is wrong with a file as a file."""
    if len(drawing.content) >= BYTES_MAX:
        yield f"has {len(drawing.content)} bytes"
    if drawing.flaws:
        yield f"is drawn with flaws: {drawing.flaws}"
    with Image.open(io.BytesIO(drawing.content)) as image:
        image.load()
        if image.size != (picture.width * scale, picture.height * scale):
            yield f"is {image.size} large"
        if (image.format, drawing.media_type) not in {("PNG", "image/png"), ("JPEG", "image/jpeg")}:
            yield f"is {image.format} and says {drawing.media_type}"
        if image.convert("RGBA").getextrema()[3] != (255, 255):
            yield "is not opaque"


def faults_of_text(text: Laid, case: Case, ink: NDArray[np.bool_], scale: int) -> Iterator[str]:
    """What is wrong with one text: by its letters' boxes, then by its pixels."""
    said = typeface(text.box.weight).spelled(case.texts()[text.field])
    lines = text.setting.lines
    if said.missing or "".join(line.text for line in lines).replace(" ", "") != said.text.replace(" ", ""):
        yield f"is not all there: {[line.text for line in lines]} {said.missing!r}"
    area = text.box.area
    boxes = [list(_letters(text, number, scale)) for number in range(len(lines))]
    for box in (box for line in boxes for box in line):
        if not _is_within(box, area, scale):
            yield f"has a letter at {box} outside its box"
        if not ink[max(0, box[1]) : box[3], max(0, box[0]) : box[2]].any():
            yield f"has a letter at {box} that nobody sees"
    for above, below in pairwise(boxes):
        low, high = max(box[3] for box in above), min(box[1] for box in below)
        if low > high and any(_overlap(one, other) for one in above for other in below):
            yield "has lines that touch"
    if not ink.any():
        yield "is not drawn"
    elif not _is_within(_around(ink), area, scale):
        yield f"has ink at {_around(ink)}, outside its box"


Box = tuple[int, int, int, int]  # left, top, right, bottom


def _letters(text: Laid, number: int, scale: int) -> Iterator[Box]:
    """The box of each letter's ink, as Pillow draws the font at this size."""
    line, size = text.setting.lines[number], text.setting.font * scale
    for letter, x in zip(line.text, line.xs, strict=True):
        if not letter.isspace():
            left, top, right, bottom = _ink_of(text.box.weight, size, letter)
            pen, baseline = (text.left + x) * scale, round((text.top + line.baseline) * scale)
            yield int(pen + left), baseline + top, int(pen + right) + 1, baseline + bottom


@cache
def _ink_of(weight: str, size: float, letter: str) -> Box:
    """Where a letter's ink lies, from the pen and the baseline."""
    mask, (x, y) = _font(weight, size).getmask2(letter, anchor="ls")
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    return left + x, top + y, right + x, bottom + y


@cache
def _font(weight: str, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FOLDER / f"{weight}.otf"), size)


def _around(ink: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _is_within(box: Box, area: Area, scale: int) -> bool:
    left, top = area.x * scale - BLUR, area.y * scale - BLUR
    right, bottom = (area.x + area.width) * scale + BLUR, (area.y + area.height) * scale + BLUR
    return left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def looked_at(cases: Iterable[Case]) -> Seen:
    """All of these at both sizes."""
    eye = Eye(Pictures())
    for case in cases:
        for scale in SCALES:
            eye.look(case, scale)
    return eye.seen


@dataclass(slots=True)
class Cost:
    """CPU milliseconds of drawings alike: of each picture the least of a few, because what else a shared core does is
    charged to whoever finds the caches empty.
    """

    name: str
    limit_ms: float
    spent_ms: list[float] = field(default_factory=list)

    def take(self, draw: Callable[[], Drawing], before: Callable[[], None]) -> None:
        """Time one picture."""
        spent = []
        for _ in range(TRIES):
            before()
            start = time.process_time_ns()
            draw()
            spent.append((time.process_time_ns() - start) / 1e6)
        self.spent_ms.append(min(spent))

    def __str__(self) -> str:
        ordered = sorted(self.spent_ms)
        p99 = ordered[int(len(ordered) * 0.99)]
        return f"{self.name}: median {median(ordered):.3f} ms, 99 % {p99:.3f}, worst {ordered[-1]:.3f}"


def costs_of(cases: Sequence[Case]) -> list[Cost]:
    """Cold is: fonts are open and the fixed part is drawn, as at the start of a process; no letter of any text is."""
    found = []
    gc.disable()  # a collection of this process's cases would fall on some picture that is not to blame
    for scale, as_jpeg in ((1, False), (2, False), (1, True), (2, True)):
        form = f"{scale}x {'jpg' if as_jpeg else 'png'}"
        cold, again = Cost(f"{form} cold", COLD_MS_MAX), Cost(f"{form} again", AGAIN_MS_MAX)
        fresh, kept = Pictures(kept_bytes_max=0), Pictures()
        for case in cases:  # fonts and canvases
            fresh.draw(case.picture, case.content, scale=scale)
        for case in cases:
            how = {"scale": scale, "as_jpeg": as_jpeg}
            cold.take(partial(fresh.draw, case.picture, case.content, **how), _forget_letters)
            kept.draw(case.picture, case.content, **how)
            again.take(partial(kept.draw, case.picture, case.content, **how), lambda: None)
        found += [cold, again]
    gc.enable()
    return found


def _forget_letters() -> None:
    for weight in ("regular", "bold"):
        typeface(weight).forget()


@dataclass(slots=True)
class Served:
    """CPU milliseconds of a serving process for one request, everything in it included."""

    forged_ms: float  # a token that does not open: HTTP alone
    again_ms: float  # read, decided, and a picture that was drawn before
    new_ms: float  # the same, each picture a new one, of letters that others had too
    inside_ms: float  # drawing these in this process
    faults: list[str]

    def __str__(self) -> str:
        return (
            f"CPU of a serving process for one request: {self.forged_ms:.2f} ms for a forged token, "
            f"{self.again_ms:.2f} for a picture drawn before, {self.new_ms:.2f} for a new one of letters at hand: "
            f"{self.new_ms - self.again_ms:.2f} for drawing it, {self.inside_ms:.2f} in this process"
        )


def served(folder: Path, requests: int) -> Served:
    """A small bank that greets by name, in a serving process, whose pictures are asked for by as many tokens."""
    with EmbeddedServer.start(folder / "store") as server:
        installation = Installation(folder, server.url)
        installation.environment["NEXTBEST_MODELS_DIR"] = str(folder / "models")
        try:
            strategy, tokens = asyncio.run(_furnished(server.url, trained(folder / "models"), requests))
            process, base = installation.serve()
            _spent(process.pid, base, tokens)  # everybody's choice is made, and held for their tokens
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            process, base = installation.serve()  # which has drawn nothing yet
            _spent(process.pid, base, ["forged"] * 100)
            new_ms, distinct = _spent(process.pid, base, tokens)
            again_ms, _ = _spent(process.pid, base, tokens)
            forged_ms, _ = _spent(process.pid, base, [f"forged{number}" for number in range(requests)])
            faults = [] if distinct == requests else [f"{distinct} pictures for {requests} names"]
            return Served(forged_ms, again_ms, new_ms, _inside_ms(strategy, requests), faults)
        finally:
            installation.end()


async def _furnished(url: str, model: str, count: int) -> tuple[Strategy, list[str]]:
    """Publish the strategy, store people with names of their own, and make a token for each."""
    store = connect(url, deadline_ms=30_000)
    texts = {**BANK_FILES, **mail_files(greeting=", {{ customer.first_name }}")}
    files = {path: text.encode() for path, text in texts.items()}
    strategy = load_bundle(files)
    await publish_strategy(store, files, strategy)
    await store.put("current", "model", model.encode())
    keys, changes = [f"C-{number:05d}" for number in range(count)], []
    for number, snapshot in enumerate(await store.read(keys)):
        crm = {"age": 40, "tier": "classic", "language": "en", "first_name": _name(number)}
        core = {"income": 5_900.0, "suspicious": False}
        profile = Profile({"crm": SourceFacts(snapshot.now_ms, crm), "core": SourceFacts(snapshot.now_ms, core)})
        changes.append(Change(snapshot.customer_key, 0, snapshot.state, profile))
    await store.commit(changes)
    sealer, now_ms = await installation_sealer(store), wall_ms()
    await store.close()
    times = {"expires_ms": now_ms + HOUR_MS, "made_ms": now_ms - HOUR_MS}
    return strategy, [sealed(sealer, key, "email.hero", message="proof", **times) for key in keys]


def _name(number: int) -> str:
    return f"Ann-{number:05d}"


def _inside_ms(strategy: Strategy, count: int) -> float:
    """What drawing the same pictures costs here."""
    picture, pictures = strategy.placements["email.hero"].picture, Pictures(kept_bytes_max=0)
    assert picture is not None
    contents = [{"headline": f"Gold, {_name(number)}", "cta": {"label": "See it"}} for number in range(count)]
    for content in contents[:20]:
        pictures.draw(picture, content, scale=1)
    start = time.process_time_ns()
    for content in contents:
        pictures.draw(picture, content, scale=1)
    return (time.process_time_ns() - start) / 1e6 / count


def _spent(pid: int, base: str, tokens: Sequence[str]) -> tuple[float, int]:
    """CPU milliseconds of a process for each of these pictures, and how many different ones it gave."""
    before = _cpu_ms(pid)
    bodies = asyncio.run(_fetched(base, tokens))
    return (_cpu_ms(pid) - before) / len(tokens), len(set(bodies))


async def _fetched(base: str, tokens: Sequence[str]) -> list[bytes]:
    waiting, bodies = iter(tokens), []

    async def caller(http: httpx.AsyncClient) -> None:
        for token in waiting:
            answer = await http.get(f"/e/{token}.png", headers=APPLE)
            answer.raise_for_status()
            bodies.append(answer.content)

    async with httpx.AsyncClient(base_url=base, timeout=30) as http:
        await asyncio.gather(*(caller(http) for _ in range(AT_ONCE)))
    return bodies


def _cpu_ms(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * 1e3 / os.sysconf("SC_CLK_TCK")


def main(strategy_dir: str = str(BANK), requests: str = "600") -> None:
    """Print what came out; exits with 1 when the claim does not hold."""
    cases = cases_of(load_bundle(read_bundle(Path(strategy_dir))))
    seen = looked_at(cases)
    print(f"{seen.pictures:,} pictures of {len(cases):,} different contents ({dict(seen.media)}): "
          f"{seen.texts:,} texts, {seen.letters:,} letters; the largest has {seen.bytes_max:,} bytes")  # fmt: skip
    print(f"texts cut, missing, overlapping or beside their box, files too large, of another size or not opaque: "
          f"{len(seen.faults)}")  # fmt: skip
    costs = costs_of(cases[::TIMED_EVERY])
    print("CPU of drawing,", "; ".join(map(str, costs)))
    with tempfile.TemporaryDirectory() as folder:
        over_http = served(Path(folder), int(requests))
    print(over_http)
    slow = [str(cost) for cost in costs if max(cost.spent_ms) > cost.limit_ms]
    if seen.faults or slow or over_http.faults:
        sys.exit("\n".join(["FAILED", *seen.faults[:20], *slow, *over_http.faults]))


if __name__ == "__main__":
    main(*sys.argv[1:])
