"""Answer the endpoints under `/v1/audio`: speech, transcriptions, translations.

Speech is silence of a plausible length. Whisper reports seconds, the gpt-4o transcribers tokens;
translations and plain text answers report nothing. tts-1 is billed by the character.
Source: types of the openai package 3.54; 10 input and 20 output tokens for each second of sound,
from the guide to audio, read 2026-11-22.
"""

from __future__ import annotations

import base64
import math
import struct

from meter.simulator.forms import Upload, read_form
from meter.simulator.prose import Writing, write_prose
from meter.simulator.replies import Event, Json, Refusal, Reply, Request, Streamed, Whole
from meter.simulator.world import World

_CHARACTERS_A_SECOND = 15
_SPEECH_TOKENS_A_SECOND = 20
_HEARD_TOKENS_A_SECOND = 10
_SOUND_RATE = 24_000
# Compressed sound is taken to have 128 kbit/s when its length is not known.
_BYTES_A_SECOND = 16_000
# One silent MPEG-1 layer III frame, 128 kbit/s at 44.1 kHz: 417 bytes for 26 ms.
_MP3_FRAME = b"\xff\xfb\x90\xc4" + b"\x00" * 413
_MP3_FRAMES_A_SECOND = 38
_INPUT_LIMIT_CHARACTERS = 4096


def speak(request: Request, world: World) -> Reply:
    """Answer with sound, or with events when `stream_format` is "sse". Raises: Refusal."""
    fields = request.fields
    text = fields.get("input")
    if not isinstance(text, str) or not 0 < len(text) <= _INPUT_LIMIT_CHARACTERS:
        message = f"'input' must be a text of 1 to {_INPUT_LIMIT_CHARACTERS} characters."
        raise Refusal(400, message, None, "input")
    seconds = max(1, math.ceil(len(text) / _CHARACTERS_A_SECOND))
    sound, content_type = _sound(str(fields.get("response_format") or "mp3"), seconds)
    if request.model.startswith("tts-1"):
        bill = {"characters": len(text)}
    else:
        spoken = seconds * _SPEECH_TOKENS_A_SECOND
        bill = {"input_tokens": world.settings.count(text), "output_tokens": spoken}
    if fields.get("stream_format") != "sse":
        return Whole(body=sound, content_type=content_type, bill=bill)
    if "input_tokens" not in bill:
        raise Refusal(400, f"{request.model} cannot stream events.", None, "stream_format")
    return Streamed(tuple(_speech_events(sound, bill)), bill)


def transcribe(request: Request, world: World) -> Reply:
    """Answer with the words of an uploaded sound. Raises: Refusal."""
    fields, upload = _read_upload(request)
    seconds = sound_seconds(upload.content)
    heard = _hear(upload, world)
    shape = fields.get("response_format", "json")
    is_by_time = request.model.startswith(("whisper", "gpt-transcribe"))
    usage: Json
    if is_by_time:
        usage = {"type": "duration", "seconds": math.ceil(seconds)}
        bill = {"audio_seconds": math.ceil(seconds)}
    else:
        tokens = max(1, math.ceil(seconds * _HEARD_TOKENS_A_SECOND))
        usage = {
            "type": "tokens",
            "input_tokens": tokens,
            "input_token_details": {"audio_tokens": tokens, "text_tokens": 0},
            "output_tokens": heard.tokens,
            "total_tokens": tokens + heard.tokens,
        }
        bill = {"input_tokens": tokens, "output_tokens": heard.tokens}
    if fields.get("stream") in ("true", "True") and not is_by_time:
        return Streamed(tuple(_transcript_events(heard, usage)), bill)
    return _shaped(heard, seconds, shape, usage, bill)


def translate(request: Request, world: World) -> Reply:
    """Answer with the English words of an uploaded sound; no usage is reported. Raises: Refusal."""
    fields, upload = _read_upload(request)
    seconds = sound_seconds(upload.content)
    bill = {"audio_seconds": math.ceil(seconds)}
    return _shaped(_hear(upload, world), seconds, fields.get("response_format", "json"), None, bill)


def sound_seconds(content: bytes) -> float:
    """Return the length of a sound: exact for WAV, by the size for everything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE" and len(content) >= 44:
        (bytes_a_second,) = struct.unpack_from("<I", content, 28)
        if bytes_a_second:
            return float((len(content) - 44) / bytes_a_second)
    return len(content) / _BYTES_A_SECOND


def _read_upload(request: Request) -> tuple[dict[str, str], Upload]:
    fields, files = read_form(request.body, request.headers)
    if "file" not in files:
        raise Refusal(400, "Missing required parameter: 'file'.", None, "file")
    if not request.model:
        raise Refusal(400, "you must provide a model parameter", None, "model")
    return fields, files["file"]


def _hear(upload: Upload, world: World) -> Writing:
    seed = f"{len(upload.content)}:{upload.content[:64]!r}"
    return write_prose(seed, world.settings.count, span=(10, 40))


def _shaped(heard: Writing, seconds: float, shape: str, usage: Json | None, bill: Json) -> Whole:
    if shape in ("text", "srt", "vtt"):
        clock = f"00:00:{min(seconds, 59):06.3f}"
        text = {
            "text": f"{heard.text}\n",
            "srt": f"1\n00:00:00,000 --> {clock.replace('.', ',')}\n{heard.text}\n\n",
            "vtt": f"WEBVTT\n\n00:00:00.000 --> {clock}\n{heard.text}\n\n",
        }[shape]
        return Whole(body=text.encode(), content_type="text/plain; charset=utf-8", bill=bill)
    body: Json = {"text": heard.text}
    if shape == "verbose_json":
        body |= {"task": "transcribe", "language": "english", "duration": round(seconds, 3)}
        body["segments"] = []
    if usage is not None:
        body["usage"] = usage
    return Whole(payload=body, usage_path=("usage",) if usage else (), bill=bill)


def _speech_events(sound: bytes, bill: Json) -> list[Event]:
    step = max(1, len(sound) // 8)
    events = [
        Event(
            {
                "type": "speech.audio.delta",
                "audio": base64.b64encode(sound[start : start + step]).decode(),
            }
        )
        for start in range(0, len(sound), step)
    ]
    usage = {**bill, "total_tokens": bill["input_tokens"] + bill["output_tokens"]}
    done = {"type": "speech.audio.done", "usage": usage}
    events.append(Event(done, hidden_tokens=bill["output_tokens"], usage_path=("usage",)))
    return events


def _transcript_events(heard: Writing, usage: Json) -> list[Event]:
    events = [
        Event({"type": "transcript.text.delta", "delta": piece}, text=piece)
        for piece in heard.pieces
    ]
    done = {"type": "transcript.text.done", "text": heard.text, "usage": usage}
    return [*events, Event(done, usage_path=("usage",))]


def _sound(shape: str, seconds: int) -> tuple[bytes, str]:
    """Return silence and its content type."""
    samples = b"\x00\x00" * (_SOUND_RATE * seconds)
    if shape == "pcm":
        return samples, "audio/pcm"
    if shape == "wav":
        head = struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            *(b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1),
            *(_SOUND_RATE, 2 * _SOUND_RATE, 2, 16, b"data", len(samples)),
        )
        return head + samples, "audio/wav"
    return _MP3_FRAME * (seconds * _MP3_FRAMES_A_SECOND), "audio/mpeg"
