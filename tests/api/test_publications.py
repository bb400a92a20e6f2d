"""Publications: the log tells what was current when, by it a rollback knows where to go, and beginnings are enough."""

from __future__ import annotations

import re

import pytest

from api.publications import (
    Publication,
    current_version,
    publications,
    publish_strategy,
    roll_back,
    switch_strategy,
)
from api.trail import full_version, version_before
from decisioning.catalog.load import load_bundle
from decisioning.errors import StrategyFaulty, VersionMissing
from decisioning.store.memory import MemoryStore
from tests.catalog.test_pictures import HERO, with_hero
from tests.decisioning.bank import FILES


@pytest.mark.parametrize(
    ("log", "current", "before"),
    [
        ("", "a", None),
        ("", "", None),
        ("pa", "a", None),
        ("pa pb", "b", "a"),
        ("pa pb pb", "b", "a"),
        ("pa pb pc rb", "b", "a"),
        ("pa pb pc rb ra", "a", None),
        ("pa pb sa", "a", "b"),
        ("pa pb pc rb pd", "d", "b"),
        ("pa pb sa rb", "b", "a"),
        ("pa", "x", "a"),
        ("rb", "b", None),
        ("pa pb", "a", None),  # a rollback to a moved the pointer and died before its line
        ("pa ra pb", "a", None),  # b's host is fast: its line came last, the rollback from it before
    ],
)
def test_a_rollback_goes_one_step_further_back_each_time(log: str, current: str, before: str | None):
    words = {"p": "publish", "s": "switch", "r": "rollback"}
    lines = [Publication(each[1], "bank", at_ms, "me@here", words[each[0]]) for at_ms, each in enumerate(log.split())]

    assert version_before(lines, current) == before


@pytest.mark.parametrize("text", ["", "c", "ab"])
def test_a_beginning_must_name_one_version(text: str):
    with pytest.raises(VersionMissing):
        full_version(text, ["abc", "abd", "bcd"], of="strategy")


def test_a_beginning_names_its_version():
    assert full_version("b", ["abc", "abd", "bcd"], of="strategy") == "bcd"
    assert full_version("abc", ["abc", "abd"], of="strategy") == "abc"


def version(number: int) -> tuple[dict[str, bytes], str]:
    """A strategy that differs from the others by a number, and its version."""
    files = {path: text.encode() for path, text in FILES.items()}
    files["strategy.yaml"] += f"# {number}\n".encode()
    return files, load_bundle(files).version


async def test_publish_switch_and_rollback_move_the_pointer_and_leave_a_line():
    store = MemoryStore()
    versions = []
    for number in range(3):
        files, name = version(number)
        versions.append(name)
        await publish_strategy(store, files, load_bundle(files))

    back = await roll_back(store)
    switched = await switch_strategy(store, versions[0][:10])

    log = await publications(store)
    assert (back.version, switched.version) == (versions[1], versions[0]) and await current_version(store) == versions[
        0
    ]
    assert [(each.version, each.how) for each in log] == [
        *((name, "publish") for name in versions),
        (versions[1], "rollback"),
        (versions[0], "switch"),
    ]
    assert all(re.fullmatch(r"\S+@\S+", each.by) and each.name == "small" for each in log)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("size: 400x36", "size: 60x36", "email.hero in en, for somebody unknown: headline is cut"),
        (
            "    button:",
            "    image: {file: sun.png}\n    button:",
            "sun.png cannot be read as a picture",
        ),
        ('"Banking made simple"', '"Banking 漢 simple"', "the font has no letter for 漢 (U+6F22)"),
    ],
)
async def test_what_cannot_be_drawn_is_not_published(old: str, new: str, says: str):
    store = MemoryStore()
    files = with_hero(HERO.replace(old, new)) | {"content/images/sun.png": b"no"}
    files["content/blocks.yaml"] = files["content/blocks.yaml"].decode().replace(old, new).encode()

    with pytest.raises(StrategyFaulty) as refused:
        await publish_strategy(store, files, load_bundle(files))

    assert any(says in str(fault) for fault in refused.value.faults)
    assert await current_version(store) == "" and await store.names("strategy") == []


async def test_there_is_nothing_before_the_first():
    store = MemoryStore()
    files, _ = version(1)
    await publish_strategy(store, files, load_bundle(files))

    with pytest.raises(VersionMissing, match="no strategy was current before"):
        await roll_back(store)
