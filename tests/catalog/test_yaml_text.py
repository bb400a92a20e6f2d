"""YAML: positions of everything, the core schema, and no text that grows or hangs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decisioning.catalog.faults import Faults
from decisioning.catalog.yaml_text import Mapping, Node, Scalar, plain, read_yaml

SEPARATORS = ["\x85", "\u2028", "\u2029"]


def read(text: str) -> tuple[Node | None, list[str]]:
    faults = Faults()
    node = read_yaml("f.yaml", text.encode(), faults)
    return node, [str(fault) for fault in faults.sorted()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("2026-01-01", "2026-01-01"), ("12:30", "12:30"), ("1_000", "1_000"), ("'7'", "7"),
        ("7", 7), ("-7", -7), ("007", 7), ("7.0", 7.0), ("1e3", 1000.0), (".5", 0.5), ("+5.", 5.0), ("1e", "1e"),
        ("true", True), ("null", None), ("~", None), ("", None), ("1.2.3", "1.2.3"), ("1-2", "1-2"),
        ("9" * 40, int("9" * 40)), ("9" * 41, "9" * 41), (".inf", float("inf")),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    node, faults = read(f"a: {text}")

    assert plain(node) == {"a": value}
    assert type(plain(node)["a"]) is type(value)
    assert faults == []


def test_keys_and_values_know_their_places() -> None:
    node, _ = read("a:\n  b: [x, 'y']\n  é: {c: 1}\n")

    inner = node.mapping("a")
    places = [(each.value, each.where) for each in inner.scalars("b")]
    assert places == [("x", "f.yaml:2:7"), ("y", "f.yaml:2:10")]
    assert inner.keys["é"].where == "f.yaml:3:3"
    assert inner.mapping("é").scalar("c").where == "f.yaml:3:10"
    assert inner.heading.where == "f.yaml:1:1"


@settings(deadline=None)
@given(
    st.text(
        alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters=SEPARATORS),
        min_size=1,
    ),
    st.data(),
)
def test_any_character_of_a_quoted_text_is_found_where_it_stands(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text) - 1))
    escape: Callable[[str], str] = data.draw(st.sampled_from([_single, _double]))
    line = f"a: {escape(text)}"

    node, _ = read(line)

    assert isinstance(node, Mapping)
    scalar = node.scalar("a")
    assert scalar is not None and scalar.value == text
    assert line[: scalar.at(offset).column - 1] == f"a: {escape(text[:offset])[:-1]}"


def _single(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _double(text: str) -> str:
    return '"' + "".join(f"\\u{ord(each):04x}" if each in '"\\é' else each for each in text) + '"'


def test_a_text_of_several_lines_is_placed_at_its_start() -> None:
    node, _ = read("a: |\n  one\n  two\n")

    scalar = node.scalar("a")
    assert scalar.value == "one\ntwo\n"
    assert scalar.at(5).where == "f.yaml:1:4"


BOMBS = {
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
    "merge": "a: &a {x: 1}\nb: {<<: *a}\n",
    "deep brackets": "a: " + "[" * 100_000,
    "deep braces": "a: " + "{a: " * 100_000,
    "deep dashes": "- " * 100_000,
    "deep questions": "? " * 100_000,
    "deep indents": "".join(" " * depth + "a:\n" for depth in range(1_000)),
    "python objects": "a: !!python/object/apply:os.system [x]",
    "many directives": "".join(f"%TAG !{number:x}! x\n" for number in range(100_000)) + "---\na: 1\n",
    "directives behind a mark": "\ufeff\ufeff" + "%TAG !a! x\n" * 100_000,
    "directives after the end": "a: 1\r...\r" + "".join(f"%TAG !{number:x}! x\r" for number in range(100_000)),
    "another version": "%YAML 1.1\n---\na: yes\n",
    "separators": "a: " + "\u2028" * 600_000 + "x: y",
    "too large": "a: " + "x" * (3 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    started = time.process_time()
    node, faults = read(BOMBS[name])

    assert node is None
    assert len(faults) == 1
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize("text", ["a: '% b'\n", "a: |\n  %b\n", "{a:\n  '%b'}"])
def test_a_value_may_begin_with_what_begins_a_directive(text: str) -> None:
    node, faults = read(text)

    assert node is not None and "%" in plain(node)["a"]
    assert faults == []


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"\xef\xbb\xbfa: \xff", "1:4"),
        (b"\xef\xbb\xbfa: 1\nb: \xc3\xa9 \xff", "2:6"),
        (b"a: [x,\n", "1:6"),
        (b"{k: a #b}", "1:9"),
        (b'a: 1\r\nb: "x\r\n\r\n', "2:5"),
        (b"", None),
    ],
)
def test_a_fault_is_placed_where_an_editor_can_show_it(content: bytes, where: str | None) -> None:
    faults = Faults()
    read_yaml("f.yaml", content, faults)

    assert [f"{fault.line}:{fault.column}" for fault in faults.sorted()] == ([where] if where else [])


@pytest.mark.parametrize("text", ["a: # why\nb: 1\n", "{a: # why\n, b: 1}", "? a\n# why\n? b\n"])
def test_a_value_left_out_is_placed_in_the_line_of_its_name(text: str) -> None:
    node, _ = read(text)

    assert node.entries["a"].line == 1


@settings(deadline=None)
@given(st.text())
def test_no_text_raises(text: str) -> None:
    node, faults = read(text)

    assert node is not None or faults


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_raise(content: bytes) -> None:
    read_yaml("f.yaml", content, Faults())


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("form", ["'{}'", '"{}"', "{}", "|-\n  {}", ">-\n  {}", "'{}' # {}"])
def test_what_ended_a_line_in_yaml_1_1_is_a_character_of_its_text(form: str, separator: str) -> None:
    node, faults = read(f"a: {form.replace('{}', f'x{separator}y')}\nb: 'z'\n")

    assert faults == []
    assert plain(node) == {"a": f"x{separator}y", "b": "z"}
    assert node.scalar("b").where.endswith(":4")
    assert node.scalar("a").source in (None, form.partition(" #")[0].replace("{}", f"x{separator}y"))


@pytest.mark.parametrize("separator", SEPARATORS)
def test_what_ended_a_line_in_yaml_1_1_is_a_blank_at_the_end_of_a_line(separator: str) -> None:
    node, faults = read(f"a: 1{separator}\r\n{separator}{separator}\nb: x # why{separator}\nc: true{separator}")

    assert faults == []
    assert plain(node) == {"a": 1, "b": "x", "c": True}


def test_private_characters_beside_separators_stay_what_they_are() -> None:
    node, faults = read('a: "\ue000\u2028\\uE001\\U0000e002\\u2029\x85"\n')

    assert faults == []
    assert plain(node) == {"a": "\ue000\u2028\ue001\ue002\u2029\x85"}


def test_separators_beside_all_private_characters_are_a_fault() -> None:
    every = "".join(map(chr, range(0xE000, 0xF900)))

    assert read(f"a: '{every}'")[1] == []
    assert "private characters" in read(f"a: '{every}\u2028'")[1][0]


def test_a_name_without_a_value_has_its_place_beside_the_name() -> None:
    node, _ = read("a:\n  b:\n")

    assert node.mapping("a").scalar("b").where == "f.yaml:2:5"


def test_duplicate_keys_are_refused_however_they_are_written() -> None:
    _, faults = read("a: 1\n'a': 2\n1: x\n\"1\": y\n")

    assert [line.partition(". ")[0] for line in faults] == [
        "f.yaml:2:1: duplicate key 'a', first on line 1",
        "f.yaml:4:1: duplicate key '1', first on line 3",
    ]


def test_a_file_of_comments_is_empty() -> None:
    node, faults = read("# nothing yet\n")

    assert plain(node) == {} and faults == []


def test_an_offset_past_the_end_stays_on_the_last_character() -> None:
    assert Scalar("f.yaml", 1, 4, "ab", '"ab"').at(9).column == 7
