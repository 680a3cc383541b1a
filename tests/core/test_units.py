"""The registry of units and which contains which."""

import pytest

from meter.core.units import CONTAINERS, CONTENTS, ROOTS, UNITS, unit
from meter.errors import UnitError


def test_every_container_is_registered_before_what_it_contains():
    names = list(UNITS)
    for name, entry in UNITS.items():
        for container in entry.inside:
            assert names.index(container) < names.index(name)


def test_containers_and_contents_are_two_sides_of_one_thing():
    for name in UNITS:
        for container in CONTAINERS[name]:
            assert name in CONTENTS[container]
        for inner in CONTENTS[name]:
            assert name in CONTAINERS[inner]
        assert name not in CONTAINERS[name]


@pytest.mark.parametrize(
    ("name", "containers"),
    [
        ("input_tokens", set()),
        ("cache_read_tokens", {"input_tokens"}),
        ("cache_write_1h_tokens", {"cache_write_tokens", "input_tokens"}),
        (
            "cache_audio_read_tokens",
            {"cache_read_tokens", "input_audio_tokens", "input_tokens"},
        ),
        ("reasoning_tokens", {"output_tokens"}),
    ],
)
def test_what_contains_a_unit(name, containers):
    assert CONTAINERS[name] == containers


def test_roots_are_inside_nothing():
    assert {"input_tokens", "output_tokens", "images", "audio_seconds"} <= set(ROOTS)
    assert "cache_read_tokens" not in ROOTS
    for name in ROOTS:
        assert not CONTAINERS[name]


def test_the_units_that_are_promised_exist():
    promised = [
        "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_5m_tokens",
        "cache_write_30m_tokens", "cache_write_1h_tokens", "cache_write_12h_tokens",
        "input_audio_tokens", "input_image_tokens", "tool_use_input_tokens", "output_tokens",
        "reasoning_tokens", "output_audio_tokens", "output_image_tokens",
        "rejected_prediction_tokens", "images", "audio_seconds", "video_seconds", "characters",
        "pages", "searches", "tool_calls", "sessions", "trained_tokens", "requests",
    ]  # fmt: skip
    assert set(promised) <= set(UNITS)


def test_only_seconds_are_fractional():
    assert {name for name, entry in UNITS.items() if entry.fractional} == {
        "audio_seconds",
        "video_seconds",
    }


def test_an_unknown_unit_is_refused():
    assert unit("pages").label == "pages"
    with pytest.raises(UnitError, match="found unit 'tokens', expected one of input_tokens, "):
        unit("tokens")


def test_the_registry_cannot_be_changed():
    with pytest.raises(TypeError):
        UNITS["more"] = UNITS["pages"]
