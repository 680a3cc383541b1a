"""Bounds of pictures, sound and film, held against what providers reported."""

from decimal import Decimal

import pytest

from meter.tokens.estimates import counted_units

DRAW, EDIT = "images.generations", "images.edits"
HEAR, SPEAK = "audio.transcriptions", "audio.speech"


# What recorded answers and OpenAI's guide to images say: size, quality, tokens of one picture.
@pytest.mark.parametrize(
    ("model", "size", "quality", "tokens"),
    [
        ("gpt-image-1", "1024x1024", "low", 272),
        ("gpt-image-1", "1024x1536", "low", 408),
        ("gpt-image-1", "1536x1024", "low", 400),
        ("gpt-image-1", "1024x1024", "medium", 1056),
        ("gpt-image-1", "1024x1536", "medium", 1584),
        ("gpt-image-1", "1536x1024", "medium", 1568),
        ("gpt-image-1-mini", "1024x1024", "high", 4160),
        ("gpt-image-1", "1024x1536", "high", 6240),
        ("gpt-image-1", "1536x1024", "high", 6208),
        ("gpt-image-2", "1536x864", "low", 120),
        ("gpt-image-2-2026-04-21", "1024x1024", "high", 7024),
        ("gpt-image-2", "1536x1024", "high", 5488),
    ],
)
def test_a_picture_of_known_size_is_bounded_by_its_tokens(model, size, quality, tokens):
    request = {"prompt": "a cat", "size": size, "quality": quality}
    assert counted_units(DRAW, request, model)["output_tokens"] == tokens
    thrice = counted_units(DRAW, {**request, "n": 3, "partial_images": 2}, model)
    # A partial picture takes 100 tokens more.
    assert thrice["output_tokens"] == 3 * (tokens + 200)
    assert thrice["images"] == 3


@pytest.mark.parametrize("size", [None, "auto", "0x9", "99999x99999", 7])
@pytest.mark.parametrize("quality", [None, "auto", "best"])
def test_what_is_left_to_the_model_is_bounded_by_the_most(size, quality):
    request = {"prompt": "a cat", "size": size, "quality": quality}
    if size != "99999x99999":
        assert counted_units(DRAW, request, "gpt-image-1")["output_tokens"] == 6240
    # 96 × 96 patches of the largest square: 9216 × (2,000,000 + 8,294,400) / 4,000,000.
    assert counted_units(DRAW, request, "gpt-image-2")["output_tokens"] == 23_719


def test_a_model_with_an_unknown_formula_is_bounded_by_its_pictures_only():
    assert counted_units(DRAW, {"prompt": "a cat", "n": 2}, "gpt-image-2.5") == {"images": 2}
    assert counted_units(DRAW, {"prompt": "a cat"}, "dall-e-3") == {"images": 1}
    assert counted_units(DRAW, {"prompt": "a cat"}, "flux") == {"images": 1}


@pytest.mark.parametrize(
    ("model", "request_", "reported_in", "reported_out"),
    [
        ("gpt-image-1", {"image": [{}, {}], "prompt": "x" * 34}, 432, 4160),
        ("gpt-image-1", {"image": [{}], "size": "1024x1024", "quality": "low"}, 221, 272),
        ("gpt-image-1.5", {"images": [{}], "size": "1024x1024", "quality": "low"}, 221, 415),
        ("gpt-image-1.5", {"images": [{}, {}]}, 431, 1364),
        ("gpt-image-2", {"images": [{}], "size": "1536x864", "quality": "low"}, 76, 120),
    ],
)
def test_edits_stay_within_their_bounds(model, request_, reported_in, reported_out):
    request = {"prompt": "turn the logo to green", **request_}
    bounds = counted_units(EDIT, request, model)
    assert bounds["input_tokens"] >= reported_in
    assert bounds["output_tokens"] >= reported_out


def test_pictures_that_are_kept_faithfully_take_more():
    put_in = {"prompt": "", "image": {"bytes": 9}, "mask": {"bytes": 9}}
    plain = counted_units(EDIT, put_in, "gpt-image-1")
    faithful = {**put_in, "input_fidelity": "high"}
    # Two pictures, 65 + 4 × 129 and 32 around each; 32 around the prompt.
    assert plain["input_tokens"] == 2 * (581 + 32) + 32
    assert counted_units(EDIT, faithful, "gpt-image-1")["input_tokens"] == 2 * 6853 + 32


def test_speech_is_bounded_by_its_characters_and_by_how_slowly_they_are_spoken():
    bounds = counted_units(
        SPEAK, {"input": "Say 42, 海", "instructions": "slow"}, "gpt-4o-mini-tts"
    )
    # 9 characters, 11 bytes, two digits.
    assert bounds == {
        "characters": 9,
        "input_tokens": 11 + 4,
        "output_tokens": 600 + 11 * 6 + 2 * 20,
    }
    assert counted_units(SPEAK, {"input": 7}, "tts-1") == {}


@pytest.mark.parametrize(
    ("model", "seconds", "reported_in", "reported_out"),
    [
        ("gpt-4o-transcribe", "3.7", 37, 12),
        ("gpt-4o-transcribe-diarize", "3.7", 37, 145),
        ("gpt-4o-transcribe-diarize", "1.14", 11, 76),
        ("voxtral-mini-latest", "3.7", 378, 20),
    ],
)
def test_what_was_heard_stays_within_its_bounds(model, seconds, reported_in, reported_out):
    file = {"bytes": 177_644, "seconds": Decimal(seconds)}
    bounds = counted_units(HEAR, {"file": file}, model)
    assert bounds["audio_seconds"] >= Decimal(seconds)
    assert bounds["input_tokens"] >= reported_in
    assert bounds["output_tokens"] >= reported_out


def test_sound_is_bounded_by_its_length_or_by_its_size():
    def seconds(**file):
        return counted_units(HEAR, {"file": file}, "whisper-1").get("audio_seconds")

    # Twice what the container tells, and a second.
    assert seconds(bytes=1_000_000, seconds=Decimal("10.2")) == 22
    # No codec takes less than 500 bytes a second.
    assert seconds(bytes=1_000_000) == 2000
    assert seconds(bytes=1_000, seconds=Decimal(100)) == 2
    assert seconds(bytes=1_000_000, whole=False) is None
    assert seconds(bytes=1_000_000, whole=False, seconds=Decimal(10)) == 21
    assert counted_units(HEAR, {}, "whisper-1") == {}


@pytest.mark.parametrize(
    ("request_", "seconds"),
    [
        ({"prompt": "x"}, 4),
        ({"seconds": "12"}, 12),
        ({"seconds": 8}, 8),
        ({"n_seconds": 5, "n_variants": 2}, 10),
        ({"seconds": "long"}, None),
        ({"seconds": -1}, None),
        ({"n_seconds": 5, "n_variants": 0}, None),
    ],
)
def test_a_film_is_bounded_by_its_seconds(request_, seconds):
    assert counted_units("videos", request_, "sora-2").get("video_seconds") == seconds
