"""Read runs of the Assistants API: creation, tool outputs, cancelling, and a look at one.

Source: https://platform.openai.com/docs/api-reference/runs (SDK openai 3.54, 2026-11). `usage` is
null until the run is in a terminal state and then covers all its steps; each step's own usage is
part of it and is not added. A run that waits for tool outputs goes on under the same id.
"""

import re
from typing import Final

from meter.core.ports import OutputSink
from meter.core.reading import Reading
from meter.providers.bounds import limit
from meter.providers.endpoint import Request
from meter.providers.foreign import JSONObject, label, mapping, objects
from meter.providers.hints import openai_hint
from meter.providers.native import hand_out
from meter.providers.normalising import from_openai
from meter.providers.openai.jobs import NOTHING, Job, PlainJobEndpoint

_CREATED: Final = re.compile(r"/threads/(?:[^/]+/)?runs$", re.IGNORECASE)
_STEERED: Final = re.compile(
    r"/threads/[^/]+/runs/[^/]+(?:/(?:submit_tool_outputs|cancel))?$", re.IGNORECASE
)
_SHOWN: Final = re.compile(r"/threads/[^/]+/runs/[^/]+$", re.IGNORECASE)
_ENDED: Final = ("completed", "incomplete", "failed", "cancelled", "expired")


class RunOutput:
    """Read the messages and tool calls that a run streams. A body holds none."""

    __slots__ = ()

    def deliver(self, payload: JSONObject, sink: OutputSink) -> None:
        """Hand every piece of output in this event to the sink."""
        delta = mapping(payload.get("delta"))
        if payload.get("object") == "thread.message.delta":
            for part in objects(delta.get("content")):
                hand_out(sink, 0, "content", mapping(part.get("text")).get("value"))
        elif payload.get("object") == "thread.run.step.delta":
            for call in objects(mapping(delta.get("step_details")).get("tool_calls")):
                _deliver_call(call, sink)


class Runs(PlainJobEndpoint):
    """The creation of a run, alone or together with its thread."""

    name = "threads.runs"
    telling = re.compile(rb'"object"\s*:\s*"thread\.run"')

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _CREATED.search(path) else None

    def read(self, request: Request) -> Reading:
        """Read a request. The assistant's own model serves where the request names none."""
        fields = request.fields
        return Reading(
            provider=request.provider.name,
            endpoint=self.name,
            model=label(fields.get("model")),
            streaming=fields.get("stream") is True,
            max_output_tokens=limit(fields, "max_completion_tokens"),
            hint=openai_hint(fields),
            free=not self.begins,
            request=fields,
            defects=request.defects if request.body else (),
        )

    def job(self, payload: JSONObject) -> Job | None:
        """Return the run that a body or an event shows; steps and messages are none."""
        run_id = label(payload.get("id"))
        if run_id is None or payload.get("object") != "thread.run":
            return None
        raw = mapping(payload.get("usage"))
        normalised = from_openai(raw) if raw else None
        ended = payload.get("status") in _ENDED
        usage = None if normalised is None else normalised.usage
        if usage is None and ended and payload.get("status") != "completed":
            usage = NOTHING
        return Job(
            names=(run_id,),
            ended=ended,
            usage=usage if ended else None,
            model=label(payload.get("model")),
            defects=() if normalised is None else normalised.defects,
        )

    def output(self) -> RunOutput:
        """Return a reader of what a run streams."""
        return RunOutput()


class SteeredRuns(Runs):
    """Tool outputs for a run, its cancelling, or new metadata."""

    name = "threads.runs.submit"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _STEERED.search(path) else None


class RetrievedRuns(Runs):
    """A look at a run."""

    name = "threads.runs.retrieve"
    begins = False

    def claims(self, path: str) -> str | None:
        """Return "" for this endpoint's paths."""
        return "" if _SHOWN.search(path) else None


def _deliver_call(call: JSONObject, sink: OutputSink) -> None:
    function = mapping(call.get("function"))
    if function.get("name"):
        sink.tool_call(0)
        hand_out(sink, 0, "tool_name", function.get("name"))
    hand_out(sink, 0, "tool_arguments", function.get("arguments"))
    interpreter = mapping(call.get("code_interpreter"))
    hand_out(sink, 0, "tool_arguments", interpreter.get("input"))
