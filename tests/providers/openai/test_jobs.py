"""Work that goes on after its answer: fine-tuning, runs, videos, background responses."""

import json
from typing import Any

import pytest

from meter.core.call import Observation
from meter.core.usage import Usage
from meter.providers.measuring import MeasuringObserver
from meter.providers.registry import dialect_named
from tests.providers.answers import DONE, JSON, SSE, Recorder, asking, event, observe

OPENAI = dialect_named("openai")
GOES_ON = "the work goes on in the background: its usage is not known yet"
RUNNING = ("queued", "running", "in_progress", "requires_action", "cancelling")
SPENT = {"input_tokens": 20, "output_tokens": 7, "total_tokens": 27}


def shown(method: str, path: str, answer: dict[str, Any]) -> Observation:
    """Answer a call with an object."""
    reading = OPENAI.read(method, path, None, b"{}")
    observer = OPENAI.observe(reading)
    assert isinstance(observer, MeasuringObserver)
    observer.start(200, JSON)
    observer.feed(json.dumps(answer).encode())
    observer.finish()
    # A look at running work bills nothing, and so names nothing.
    is_mere_look = answer.get("status") in RUNNING and reading.free
    assert observer.billing_ids == ((answer["id"],) if "id" in answer and not is_mere_look else ())
    return observer.result()


def tuning(status: str, trained: Any = None, **members: Any) -> dict[str, Any]:
    return {
        "id": "ftjob-1", "object": "fine_tuning.job", "model": "gpt-4o-mini-2024-07-18",
        "status": status, "trained_tokens": trained, "error": {}, **members,
    }  # fmt: skip


def test_a_fine_tuning_job_is_owed_when_it_has_ended() -> None:
    path = "/v1/fine_tuning/jobs"
    seen = shown("POST", path, tuning("validating_files"))
    assert (seen.usage, seen.defects) == (None, (GOES_ON,))
    seen = shown("GET", f"{path}/ftjob-1", tuning("running"))
    assert (seen.usage, seen.defects) == (Usage(), ())
    seen = shown("GET", f"{path}/ftjob-1", tuning("succeeded", 5768))
    assert (seen.usage, seen.model_served) == (
        Usage(trained_tokens=5768), "gpt-4o-mini-2024-07-18",
    )  # fmt: skip
    assert (seen.response_id, seen.finished, seen.defects) == ("ftjob-1", True, ())


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_fine_tuning_job_that_came_to_nothing_owes_what_it_trained(status: str) -> None:
    error = {"code": "x", "message": "y"}
    path = "/v1/fine_tuning/jobs/ftjob-1/cancel"
    assert shown("POST", path, tuning(status, error=error)).usage == Usage()
    seen = shown("POST", path, tuning(status, 12, error=error))
    assert (seen.usage, seen.error_in_body) == (Usage(trained_tokens=12), False)


@pytest.mark.parametrize("trained", [None, -1, 1.5, "12", 10**16])
def test_odd_trained_tokens_are_not_believed(trained: Any) -> None:
    path = "/v1/fine_tuning/jobs/ftjob-1"
    assert shown("GET", path, tuning("succeeded", trained)).usage is None


def test_reinforcement_is_billed_by_something_else() -> None:
    job = tuning("succeeded", 5, method={"type": "reinforcement"})
    assert shown("GET", "/v1/fine_tuning/jobs/ftjob-1", job).defects == (
        "reinforcement fine-tuning is billed by the hour, which is not reported",
    )


def run(status: str, usage: Any = None, **members: Any) -> dict[str, Any]:
    return {"id": "run_1", "object": "thread.run", "model": "gpt-4o", "status": status,
            "usage": usage, **members}  # fmt: skip


RUN_USAGE = {"prompt_tokens": 123, "completion_tokens": 45, "total_tokens": 168}


@pytest.mark.parametrize("path", ["/v1/threads/t/runs", "/v1/threads/runs"])
def test_a_run_that_was_begun_is_not_known_yet(path: str) -> None:
    seen = shown("POST", path, run("queued"))
    assert (seen.usage, seen.defects, seen.response_id) == (None, (GOES_ON,), "run_1")


def test_a_run_is_owed_when_it_has_ended() -> None:
    path = "/v1/threads/t/runs/run_1"
    for status in ("queued", "in_progress", "requires_action", "cancelling"):
        assert shown("GET", path, run(status)).usage == Usage()
        assert shown("POST", f"{path}/submit_tool_outputs", run(status)).usage == Usage()
    for status in ("completed", "incomplete", "failed", "cancelled", "expired"):
        seen = shown("GET", path, run(status, RUN_USAGE))
        assert seen.usage == Usage(input_tokens=123, output_tokens=45)
    assert shown("GET", path, run("expired")).usage == Usage()
    assert shown("GET", path, run("completed")).usage is None


def steps() -> bytes:
    """Return the stream of a run of one step up to its end."""
    used = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
    value = {"index": 0, "type": "text", "text": {"value": "Hello."}}
    return (
        event(run("queued"))
        + event({"id": "step_1", "object": "thread.run.step", "usage": None})
        + event({"id": "msg_1", "object": "thread.message.delta", "delta": {"content": [value]}})
        + event({"id": "step_1", "object": "thread.run.step", "usage": used})
    )


@pytest.mark.parametrize("cut_bytes", [1, 7, 10_000])
def test_steps_are_not_added_to_the_run(cut_bytes: int) -> None:
    stream = steps() + event(run("completed", RUN_USAGE)) + DONE
    reading = asking(OPENAI, "/v1/threads/t/runs", stream=True, max_completion_tokens=50)
    assert (reading.streaming, reading.max_output_tokens) == (True, 50)
    pieces = [stream[at : at + cut_bytes] for at in range(0, len(stream), cut_bytes)]
    seen, _ = observe(OPENAI, reading, pieces)
    assert seen.usage == Usage(input_tokens=123, output_tokens=45)
    assert (seen.model_served, seen.response_id, seen.finished) == ("gpt-4o", "run_1", True)


def test_a_run_that_waits_for_tools_is_not_known_yet() -> None:
    stream = steps() + event(run("requires_action")) + DONE
    reading = asking(OPENAI, "/v1/threads/t/runs", stream=True)
    seen, _ = observe(OPENAI, reading, [stream], headers=SSE)
    assert (seen.usage, seen.running, seen.defects) == (None, None, (GOES_ON,))


def test_what_a_run_streams_is_counted() -> None:
    call = {"index": 0, "function": {"name": "look", "arguments": "{}"}}
    more = {"index": 0, "function": {"arguments": "[]"}}
    delta = {"step_details": {"type": "tool_calls", "tool_calls": [call, more]}}
    stream = steps() + event({"object": "thread.run.step.delta", "delta": delta})
    reading = asking(OPENAI, "/v1/threads/t/runs", stream=True)
    sink = Recorder()
    observe(OPENAI, reading, [stream], sink=sink, count_always=True)
    assert sink.joined("content") == "Hello."
    assert (sink.joined("tool_name"), sink.joined("tool_arguments")) == ("look", "{}[]")
    assert sink.tool_calls == [0]


def video(status: str, **members: Any) -> dict[str, Any]:
    return {"id": "video_1", "object": "video", "model": "sora-2", "status": status,
            "seconds": "8", "size": "1280x720", **members}  # fmt: skip


def test_a_video_is_owed_when_it_is_made() -> None:
    assert shown("POST", "/v1/videos", video("queued")).usage is None
    assert shown("GET", "/v1/videos/video_1", video("in_progress")).usage == Usage()
    seen = shown("GET", "/v1/videos/video_1", video("completed"))
    assert (seen.usage, seen.traits) == (Usage(video_seconds=8), (("size", "1280x720"),))
    assert seen.model_served == "sora-2"
    failed = video("failed", error={"code": "moderation", "message": "no"})
    assert shown("GET", "/v1/videos/video_1", failed).usage == Usage()


def test_azures_video_jobs_count_each_variant() -> None:
    job = {"id": "task_1", "object": "video.generation.job", "status": "succeeded",
           "n_seconds": 5, "n_variants": 2, "width": 480, "height": 270,
           "generations": [{"id": "gen_1"}, {"id": "gen_2"}]}  # fmt: skip
    seen = shown("GET", "/openai/v1/video/generations/jobs/task_1", job)
    assert (seen.usage, seen.traits) == (Usage(video_seconds=10), (("size", "480x270"),))


@pytest.mark.parametrize("seconds", [None, "long", "-1", 1.5, True])
def test_odd_seconds_are_not_believed(seconds: Any) -> None:
    made = video("completed", seconds=seconds)
    assert shown("GET", "/v1/videos/video_1", made).usage is None


def response(status: str, **members: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "model": "gpt-5", "status": status,
            "background": True, "output": [], "usage": None, **members}  # fmt: skip


def test_a_background_response_is_owed_by_who_sees_its_end() -> None:
    path = "/v1/responses/resp_1"
    assert shown("GET", path, response("queued")).usage == Usage()
    searched = {"type": "web_search_call", "action": {"type": "search"}}
    done = response("completed", usage=SPENT, output=[searched], service_tier="flex")
    seen = shown("GET", path, done)
    assert seen.usage == Usage(input_tokens=20, output_tokens=7, searches=1, tool_calls=1)
    assert (seen.model_served, seen.service_tier) == ("gpt-5", "flex")
    assert shown("POST", f"{path}/cancel", response("cancelled")).usage == Usage()
    assert shown("GET", path, response("completed")).usage is None


def test_a_stored_response_was_paid_for_when_it_was_made() -> None:
    done = response("completed", usage=SPENT, background=False)
    assert shown("GET", "/v1/responses/resp_1", done).usage == Usage()


def test_a_background_response_can_be_watched() -> None:
    reading = OPENAI.read("GET", "/v1/responses/resp_1?stream=true&starting_after=3", None, b"")
    assert (reading.streaming, reading.free, reading.endpoint) == (
        True, True, "responses.retrieve",
    )  # fmt: skip
    stream = event({"type": "response.output_text.delta", "delta": "Hi"})
    done = response("completed", usage=SPENT)
    stream += event({"type": "response.completed", "response": done})
    seen, _ = observe(OPENAI, reading, [stream])
    assert seen.usage == Usage(input_tokens=20, output_tokens=7)


@pytest.mark.parametrize("path", ["/v1/responses/input_tokens", "/v1/responses/compact"])
def test_other_responses_are_not_stored_ones(path: str) -> None:
    assert OPENAI.read("GET", path, None, b"").endpoint != "responses.retrieve"
    assert OPENAI.read("POST", path, None, b"{}").endpoint != "responses.retrieve"


@pytest.mark.parametrize("answer", [{}, {"id": 3}, {"id": "x", "object": 3}, {"error": "no"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/batches"), ("POST", "/v1/fine_tuning/jobs"), ("POST", "/v1/threads/t/runs"),
     ("GET", "/v1/responses/r"), ("GET", "/v1/videos/v")],
)  # fmt: skip
def test_an_answer_without_a_job_is_left_as_it_is(
    method: str, path: str, answer: dict[str, Any]
) -> None:
    observer = OPENAI.observe(OPENAI.read(method, path, None, b"{}"))
    observer.start(200, JSON)
    observer.feed(json.dumps(answer).encode())
    observer.finish()
    seen = observer.result()
    assert seen.usage is None
    assert seen.error_in_body is ("error" in answer)


def test_a_refused_call_shows_no_job() -> None:
    observer = OPENAI.observe(OPENAI.read("POST", "/v1/batches", None, b"{}"))
    observer.start(400, JSON)
    observer.feed(json.dumps({"id": "batch_1", "object": "batch"}).encode())
    assert observer.result().response_id is None
