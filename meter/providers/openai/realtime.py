"""Follow a Realtime or Live session: which of its server events say what was used.

Sans-IO: it takes the JSON events that a WebSocket (or a WebRTC data channel) carries and knows
nothing of either. Called by whoever relays a session.

Source: SDK openai 3.54 (`types/realtime`, `types/live`), 2026-11. Each `response.done` reports its
own response, which pays for the whole conversation again; nothing is to be subtracted. What the
user said is transcribed by another model at that model's price. A Live session's seconds are a
total: the largest holds. Work that a Live session hands on is reported in the nested events.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from meter.core.usage import Usage
from meter.providers.endpoint import Normalised
from meter.providers.foreign import JSONObject, decoded, label, mapping, text, whole
from meter.providers.normalising import from_openai
from meter.providers.sightings import MOST_DEFECTS
from meter.providers.tiers import tier_of

EVENT_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""A longer event is not read."""

# Events that are parsed; sound and text on their way are not.
_TELLING: Final = re.compile(
    rb'"type"\s*:\s*"(?:response\.done|response\.event|decision\.event'
    rb"|conversation\.item\.input_audio_transcription\.completed"
    rb"|session\.(?:created|updated|closed|usage\.updated)"
    rb'|transcription_session\.(?:created|updated))"'
)
_NESTED_ENDINGS: Final = ("response.completed", "response.incomplete", "response.failed")


@dataclass(frozen=True, slots=True)
class SessionUse:
    """What one event says was used.

    `billing_id` is the provider's name for it: an event that comes again has the same. `usage` is
    None where it was done without a word on usage. `is_total`: it replaces what was said before
    under the same name.
    """

    billing_id: str
    kind: str
    model: str | None
    usage: Usage | None
    service_tier: str | None = None
    is_total: bool = False
    defects: tuple[str, ...] = ()


class RealtimeSession:
    """Follows one session. Never raises on foreign bytes, keeps a few names."""

    __slots__ = ("_model", "_seconds", "_session_id", "_transcriber", "defects")

    def __init__(self, model: str | None = None) -> None:
        """Begin with the model that the session's address names, None when it names none."""
        self.defects: list[str] = []
        self._model = model
        self._session_id = ""
        self._transcriber: str | None = None
        self._seconds = Decimal(0)

    @property
    def model(self) -> str | None:
        """Return the session's model as it is known by now."""
        return self._model

    def take(self, event: bytes | str) -> SessionUse | None:
        """Return what a server event says was used, None when it says nothing of it."""
        content = event.encode("utf-8", "replace") if isinstance(event, str) else event
        if not _TELLING.search(content):
            return None
        if len(content) > EVENT_LIMIT_BYTES:
            self._note("an event was too long to be read")
            return None
        value, fault = decoded(content, exact=True)
        if fault is not None:
            self._note(fault)
            return None
        fields = mapping(value)
        match fields.get("type"):
            case "response.done":
                return self._response(mapping(fields.get("response")))
            case "conversation.item.input_audio_transcription.completed":
                return self._transcription(fields)
            case "session.usage.updated":
                return self._voice(mapping(fields.get("usage")))
            case "session.closed":
                self._learn(mapping(fields.get("session")))
                return self._voice(mapping(fields.get("usage")))
            case "response.event":
                return self._nested(mapping(fields.get("event")))
            case "decision.event":
                return self._decision(fields)
            case _:
                self._learn(mapping(fields.get("session")))
                return None

    def _learn(self, session: JSONObject) -> None:
        """Keep the names of the session and of its models."""
        self._session_id = label(session.get("id")) or self._session_id
        self._model = label(session.get("model")) or self._model
        heard = mapping(mapping(session.get("audio")).get("input"))
        for holder in (heard.get("transcription"), session.get("input_audio_transcription")):
            self._transcriber = label(mapping(holder).get("model")) or self._transcriber

    def _response(self, response: JSONObject) -> SessionUse | None:
        name = label(response.get("id"))
        return None if name is None else self._use(name, "response", self._model, response)

    def _transcription(self, event: JSONObject) -> SessionUse | None:
        item = label(event.get("item_id"))
        if item is None:
            return None
        name = f"{item}/{whole(event.get('content_index'), 0, 10**6) or 0}"
        return self._use(name, "transcription", self._transcriber, event)

    def _nested(self, event: JSONObject) -> SessionUse | None:
        """Return what work of the Responses API used that the session handed on."""
        response = mapping(event.get("response"))
        name = label(response.get("id"))
        if name is None or text(event.get("type")) not in _NESTED_ENDINGS:
            return None
        return self._use(name, "delegated", label(response.get("model")), response)

    def _decision(self, event: JSONObject) -> SessionUse | None:
        decision = mapping(mapping(event.get("event")).get("decision"))
        name = label(event.get("event_id"))
        if name is None or not decision:
            return None
        return self._use(name, "decision", label(decision.get("model")), decision)

    def _use(self, name: str, kind: str, model: str | None, holder: JSONObject) -> SessionUse:
        raw = mapping(holder.get("usage"))
        found = from_openai(raw) if raw else Normalised(None)
        tier = tier_of(holder.get("service_tier"))
        return SessionUse(name, kind, model, found.usage, tier, defects=found.defects)

    def _voice(self, usage: JSONObject) -> SessionUse | None:
        """Return the session's seconds so far."""
        seconds = _seconds(usage)
        if seconds is None:
            return None
        self._seconds = max(self._seconds, seconds)
        return SessionUse(
            billing_id=self._session_id or "session",
            kind="voice",
            model=self._model,
            usage=Usage(audio_seconds=self._seconds),
            is_total=True,
        )

    def _note(self, defect: str) -> None:
        if defect not in self.defects and len(self.defects) < MOST_DEFECTS:
            self.defects.append(defect)


def _seconds(usage: JSONObject) -> Decimal | None:
    value: Any = usage.get("seconds")
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    seconds = Decimal(value)
    return seconds if seconds.is_finite() and 0 <= seconds <= 10**9 else None
