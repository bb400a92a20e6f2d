"""What a source says joins what it said before: later words win, and forgetting is a word."""

from __future__ import annotations

from decisioning.customer import SourceFacts
from decisioning.profile import forgotten, restated


def test_an_older_word_does_not_bring_a_forgotten_attribute_back():
    known = restated(None, {"city": "Pest", "age": 30}, at_ms=1)
    known = restated(known, {"city": None}, at_ms=5)

    for at_ms, city in [(3, {}), (4, {}), (5, {"city": "Buda"}), (6, {"city": "Buda"})]:
        later = restated(known, {"city": "Buda", "age": 31}, at_ms=at_ms)

        assert later.attributes == {"age": 31, **city}


def test_a_forgotten_attribute_can_be_said_and_forgotten_again():
    known = restated(None, {"city": "Pest"}, at_ms=1)
    for at_ms, city in [(2, None), (3, "Buda"), (4, None), (5, None)]:
        known = restated(known, {"city": city}, at_ms=at_ms)

    assert restated(known, {"city": "Pest"}, at_ms=4).attributes == {}
    assert restated(known, {"city": "Pest"}, at_ms=6) == SourceFacts(6, {"city": "Pest"})


def test_a_word_on_its_way_about_an_attribute_that_was_not_known_comes_too_late_too():
    for before in (None, SourceFacts(1, {"age": 30}), SourceFacts(1, {"age": 30, "city": "Pest"})):
        known = forgotten(before, "city", at_ms=5)

        assert restated(known, {"city": "Pest"}, at_ms=3).attributes == known.attributes
        assert "city" not in known.attributes


def test_what_was_said_later_is_not_forgotten():
    said = SourceFacts(9, {"city": "Pest"})

    assert forgotten(said, "city", at_ms=5) == said


def test_columns_that_never_had_a_value_take_no_room():
    known = restated(restated(None, {"age": 30, "city": None}, at_ms=1), {"age": 31, "city": None}, at_ms=2)

    assert known == SourceFacts(2, {"age": 31})


def test_the_time_of_a_source_is_that_of_most_of_what_it_tells():
    known = restated(None, {"age": 30, "tier": "gold", "city": "Pest", "vip": True, "since": "x"}, at_ms=1)

    known = restated(known, {"city": None, "vip": None, "since": None}, at_ms=2)

    assert known == SourceFacts(1, {"age": 30, "tier": "gold"}, {"city": 2, "vip": 2, "since": 2})
