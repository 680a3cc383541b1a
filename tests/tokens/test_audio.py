"""Audio: seconds from headers or sizes."""

import base64
import io
import wave

from meter.tokens.audio import audio_bound, audio_seconds, audio_tokens
from meter.tokens.media import Media


def recording(seconds):
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(b"\0\0" * int(8_000 * seconds))
    return Media("audio", base64.b64encode(held.getvalue()).decode())


def test_a_wav_tells_its_length():
    assert abs(audio_seconds(recording(5.85)) - 5.85) < 0.01
    # Ten tokens a second: 58.5 is billed as a whole number of tokens.
    assert audio_tokens(recording(5.85), 10) == 59


def test_other_audio_is_taken_for_128_kbit():
    assert audio_seconds(Media("audio", "A" * 64_000)) == 48_000 / 16_000


def test_linked_audio_has_no_length():
    assert audio_seconds(Media("audio")) == 0
    assert audio_tokens(Media("audio"), 10) == 0


def test_the_bound_holds_at_the_lowest_bit_rate():
    media = Media("audio", "A" * 4_000)
    assert audio_bound(media, 10) >= 3_000 / 1_000 * 10
    assert audio_bound(recording(3), 10) >= audio_tokens(recording(3), 10)
