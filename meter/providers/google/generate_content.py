"""Read `POST …/models/{model}:generateContent` and `:streamGenerateContent`.

Source: https://ai.google.dev/api/generate-content (SDK google-genai 3.4, 2026-11). Every chunk
of a stream carries the totals so far; the last holds.
"""

import re

from meter.core.call import Attribution
from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import bound, count, limit, odd_numbers
from meter.providers.endpoint import Normalised, Progress, Request
from meter.providers.foreign import JSONObject, encoded, index, label, mapping, objects, text
from meter.providers.hints import tags
from meter.providers.normalising import from_gemini
from meter.providers.provider import Provider, Shape
from meter.providers.tiers import tier_of

_PATH = re.compile(r"/([^/:]+):(generateContent|streamGenerateContent)$", re.IGNORECASE)

# Both spellings of a field are taken.
_LIMITS = ("maxOutputTokens", "max_output_tokens")
_CHOICES = ("candidateCount", "candidate_count")


class GenerateContentOutput:
    """Read one answer's output, streamed or whole."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand the parts of every candidate to the sink."""
        for candidate in objects(payload.get("candidates")):
            number = index(candidate.get("index"))
            for part in objects(mapping(candidate.get("content")).get("parts")):
                _part(number, part, sink)


class GenerateContent:
    """The generateContent endpoint, streamed or not."""

    name = "generateContent"
    shape: Shape = "google"
    only_usage = False

    def claims(self, path: str) -> str | None:
        """Return the model that the path names."""
        found = _PATH.search(path)
        return found[1] if found else None

    def read(self, request: Request) -> Reading:
        """Read a request. The output bound covers all candidates, thoughts included."""
        fields = request.fields
        settings = _settings(fields)
        odd = odd_numbers(settings, *_LIMITS, *_CHOICES)
        most = None if odd else limit(settings, *_LIMITS)
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(request.model),
            streaming=request.path.lower().endswith(":streamgeneratecontent"),
            max_output_tokens=bound(most, self.choices(fields)),
            choices=self.choices(fields),
            service_tier=tier_of(fields.get("serviceTier") or fields.get("service_tier")),
            hint=Attribution(tags=tags(fields.get("labels"))),
            request=fields,
            defects=request.defects + odd,
        )

    def choices(self, request: JSONObject) -> int:
        """Return the number of candidates asked for."""
        settings = _settings(request)
        return max(count(settings.get(name)) for name in _CHOICES)

    def progress(self, payload: JSONObject) -> Progress:
        """Find the candidates that end; a blocked prompt has none."""
        finished = {
            index(candidate.get("index"))
            for candidate in objects(payload.get("candidates"))
            if candidate.get("finishReason")
        }
        blocked = bool(mapping(payload.get("promptFeedback")).get("blockReason"))
        return Progress(settles=blocked, finished=frozenset(finished))

    def normalise(self, raw: JSONObject, provider: Provider) -> Normalised:
        """Return usageMetadata in the registry's units."""
        return from_gemini(raw)

    def output(self) -> GenerateContentOutput:
        """Return a reader of one answer's output."""
        return GenerateContentOutput()


def _settings(fields: JSONObject) -> JSONObject:
    return mapping(fields.get("generationConfig")) or mapping(fields.get("generation_config"))


def _part(candidate: int, part: JSONObject, sink: OutputSink) -> None:
    piece = text(part.get("text"))
    if piece:
        sink.text(candidate, "reasoning" if part.get("thought") is True else "content", piece)
    call = mapping(part.get("functionCall"))
    if call:
        sink.tool_call(candidate)
        if text(call.get("name")):
            sink.text(candidate, "tool_name", text(call.get("name")))
        if mapping(call.get("args")):
            arguments = encoded(call["args"]).decode("utf-8", "replace")
            sink.text(candidate, "tool_arguments", arguments)
    code = text(mapping(part.get("executableCode")).get("code"))
    if code:
        sink.text(candidate, "content", code)
