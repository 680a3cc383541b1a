"""The endpoints of OpenAI beside chat."""

import base64
import math
import struct
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from meter.simulator import Simulator
from tests.simulator.asking import ask

USAGE: Any = {"include_usage": True}


def booked(simulator: Simulator) -> dict[str, int]:
    quantities: dict[str, int] = simulator.books()["quantities"]
    return quantities


class TestCompletions:
    def test_sixteen_tokens_are_the_default(self, client: OpenAI) -> None:
        answer = client.completions.create(model="davinci-002", prompt="Say hello")
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 16)
        assert answer.choices[0].finish_reason == "length"

    @pytest.mark.parametrize(
        ("prompt", "prompt_tokens", "choices"),
        [
            ("Say hello", 2, 1),
            (["Say hello", "Hi"], 3, 2),
            ([10, 20, 30], 3, 1),
            ([[10, 20, 30], [40]], 4, 2),
        ],
    )
    def test_four_shapes_of_a_prompt(
        self, client: OpenAI, prompt: Any, prompt_tokens: int, choices: int
    ) -> None:
        answer = client.completions.create(model="davinci-002", prompt=prompt)
        assert answer.usage.prompt_tokens == prompt_tokens
        assert answer.usage.completion_tokens == 16 * choices
        assert [choice.index for choice in answer.choices] == list(range(choices))

    def test_best_of_is_billed_and_n_returned_for_each_prompt(self, client: OpenAI) -> None:
        answer = client.completions.create(
            model="davinci-002", prompt=["a", "b"], n=2, best_of=3, max_tokens=5
        )
        assert len(answer.choices) == 4
        # 2 prompts x 3 answers x 5 tokens
        assert answer.usage.completion_tokens == 30

    def test_echo_is_returned_and_not_billed_again(self, client: OpenAI) -> None:
        answer = client.completions.create(
            model="davinci-002", prompt="Say hello", echo=True, max_tokens=3
        )
        assert answer.choices[0].text.startswith("Say hello")
        assert answer.usage.completion_tokens == 3

    def test_suffix_is_part_of_the_prompt(self, client: OpenAI) -> None:
        answer = client.completions.create(model="m", prompt="Say hello", suffix="the end")
        assert answer.usage.prompt_tokens == 4

    def test_stream_says_the_same_with_usage_alone_at_the_end(self, client: OpenAI) -> None:
        whole = client.completions.create(model="m", prompt="Say hello", n=2)
        stream = client.completions.create(
            model="m", prompt="Say hello", n=2, stream=True, stream_options=USAGE
        )
        texts = ["", ""]
        chunks = list(stream)
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.text
        assert texts == [choice.text for choice in whole.choices]
        assert chunks[-1].choices == []
        assert chunks[-1].usage == whole.usage

    def test_best_of_cannot_be_streamed(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError):
            client.completions.create(model="m", prompt="a", best_of=2, stream=True)


class TestResponses:
    def test_usage_is_inclusive(self, client: OpenAI) -> None:
        answer = client.responses.create(model="gpt-5-nano@output-12", input="Say hello")
        reasoning = answer.usage.output_tokens_details.reasoning_tokens
        # 3 for the message, 1 for its role, 2 for its words, 2 before reasoned answers.
        assert answer.usage.input_tokens == 8
        assert reasoning > 0
        assert answer.usage.output_tokens == reasoning + 12
        assert [item.type for item in answer.output] == ["reasoning", "message"]
        assert answer.status == "completed"

    def test_events_come_in_order_with_numbers(self, client: OpenAI) -> None:
        stream = client.responses.create(model="gpt-4o@output-3", input="Say hello", stream=True)
        events = list(stream)
        assert [event.type.removeprefix("response.") for event in events] == [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
        assert [event.sequence_number for event in events] == list(range(11))
        assert events[0].response.usage is None
        assert events[-1].response.usage.output_tokens == 3
        assert "".join(event.delta for event in events[4:7]) == events[-1].response.output_text

    def test_stream_helper_accepts_the_events(self, client: OpenAI) -> None:
        with client.responses.stream(model="gpt-5-mini", input="Say hello") as stream:
            for _ in stream:
                pass
            final = stream.get_final_response()
        whole = client.responses.create(model="gpt-5-mini", input="Say hello")
        assert final.output_text == whole.output_text
        assert final.usage == whole.usage

    def test_limit_makes_it_incomplete(self, client: OpenAI) -> None:
        stream = client.responses.create(
            model="gpt-4o", input="Say hello", max_output_tokens=16, stream=True
        )
        last = list(stream)[-1]
        assert last.type == "response.incomplete"
        assert last.response.incomplete_details.reason == "max_output_tokens"
        assert last.response.usage.output_tokens == 16

    def test_function_is_called_with_streamed_arguments(self, client: OpenAI) -> None:
        tool: Any = {
            "type": "function",
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            "strict": False,
        }
        stream = client.responses.create(
            model="gpt-4o", input="weather?", tools=[tool], stream=True
        )
        events = list(stream)
        deltas = [event for event in events if event.type.endswith("arguments.delta")]
        (call,) = events[-1].response.output
        assert "".join(event.delta for event in deltas) == call.arguments
        assert call.name == "get_weather"

    def test_stored_answer_is_read_again_and_not_billed_again(
        self, client: OpenAI, simulator: Simulator
    ) -> None:
        answer = client.responses.create(model="gpt-4o@output-12", input="Say hello")
        again = client.responses.retrieve(answer.id)
        assert again.usage == answer.usage
        assert booked(simulator)["output_tokens"] == 12
        client.responses.delete(answer.id)
        with pytest.raises(NotFoundError):
            client.responses.retrieve(answer.id)

    def test_stored_answer_belongs_to_its_key(self, client: OpenAI) -> None:
        answer = client.responses.create(model="gpt-4o", input="Say hello")
        with pytest.raises(NotFoundError):
            client.with_options(api_key="sk-bob").responses.retrieve(answer.id)

    def test_continued_answer_pays_for_what_was_said_before(self, client: OpenAI) -> None:
        first = client.responses.create(model="gpt-4o@output-12", input="Say hello")
        second = client.responses.create(
            model="gpt-4o", input="Say hello", previous_response_id=first.id
        )
        assert second.usage.input_tokens == 9 + 12 + 9

    def test_input_can_be_counted_for_nothing(self, client: OpenAI, simulator: Simulator) -> None:
        counted = client.responses.input_tokens.count(model="gpt-4o", input="Say hello")
        assert counted.input_tokens == 9
        assert booked(simulator) == {}


class TestEmbeddings:
    def test_vectors_have_length_one_and_the_size_asked_for(self, client: OpenAI) -> None:
        answer = client.embeddings.create(
            model="text-embedding-3-small", input=["Say hello", "Hi"], dimensions=8
        )
        assert [len(row.embedding) for row in answer.data] == [8, 8]
        assert math.isclose(sum(n * n for n in answer.data[0].embedding), 1, abs_tol=1e-6)
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (3, 3)

    def test_base64_and_float_are_the_same_vector(self) -> None:
        body = {"model": "text-embedding-3-large", "input": "Say hello"}
        floats = ask(None, "/v1/embeddings", body).json()["data"][0]["embedding"]
        coded = ask(None, "/v1/embeddings", {**body, "encoding_format": "base64"}).json()
        raw = base64.b64decode(coded["data"][0]["embedding"])
        assert len(floats) == 3072
        assert struct.unpack("<3072f", raw) == pytest.approx(floats, abs=1e-6)

    def test_ids_are_counted_as_they_are(self, client: OpenAI) -> None:
        answer = client.embeddings.create(model="e", input=[[1, 2, 3], [4]])
        assert answer.usage.prompt_tokens == 4

    @pytest.mark.parametrize("wrong", ["", [], ["a"] * 2049])
    def test_wrong_inputs_are_refused(self, client: OpenAI, wrong: Any) -> None:
        with pytest.raises(BadRequestError):
            client.embeddings.create(model="e", input=wrong)


class TestPictures:
    def test_tokens_follow_quality_and_shape(self, client: OpenAI) -> None:
        answer = client.images.generate(
            model="gpt-image-1", prompt="a cat", n=2, quality="low", size="1024x1536"
        )
        assert answer.usage.input_tokens == 2
        assert answer.usage.output_tokens == 2 * 408
        assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")

    def test_stream_reports_at_the_end(self, client: OpenAI) -> None:
        stream = client.images.generate(
            model="gpt-image-1", prompt="a cat", stream=True, partial_images=1
        )
        events = list(stream)
        assert [event.type for event in events] == [
            "image_generation.partial_image",
            "image_generation.completed",
        ]
        assert events[-1].usage.output_tokens == 1056

    def test_older_models_are_billed_by_the_picture(
        self, client: OpenAI, simulator: Simulator
    ) -> None:
        answer = client.images.generate(model="dall-e-3", prompt="a cat")
        assert answer.usage is None
        assert answer.data[0].url.startswith("https://")
        assert booked(simulator) == {"images": 1}


class TestSound:
    def wav(self, client: OpenAI) -> bytes:
        # 60 characters are 4 seconds.
        return client.audio.speech.create(
            model="gpt-4o-mini-tts", voice="alloy", input="hello there " * 5, response_format="wav"
        ).read()

    def test_speech_is_sound_and_billed_by_character_or_token(
        self, client: OpenAI, simulator: Simulator
    ) -> None:
        sound = client.audio.speech.create(model="tts-1", voice="alloy", input="hello there")
        assert sound.read().startswith(b"\xff\xfb")
        assert booked(simulator) == {"characters": 11}
        assert self.wav(client).startswith(b"RIFF")
        # "hello", " there" five times and the blank at the end; 4 s x 20
        assert booked(simulator) == {"characters": 11, "input_tokens": 11, "output_tokens": 80}

    def test_speech_events_report_usage(self) -> None:
        body = {"model": "gpt-4o-mini-tts", "input": "hello there", "stream_format": "sse"}
        *_, done = ask(None, "/v1/audio/speech", body).payloads()
        assert done["type"] == "speech.audio.done"
        assert done["usage"] == {"input_tokens": 2, "output_tokens": 20, "total_tokens": 22}

    def test_whisper_reports_seconds(self, client: OpenAI, simulator: Simulator) -> None:
        sound = ("a.wav", self.wav(client))
        simulator.reset()
        answer = client.audio.transcriptions.create(model="whisper-1", file=sound)
        assert (answer.usage.type, answer.usage.seconds) == ("duration", 4)
        assert booked(simulator) == {"audio_seconds": 4}

    def test_newer_transcribers_report_tokens_whole_and_streamed(self, client: OpenAI) -> None:
        sound = ("a.wav", self.wav(client))
        whole = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound)
        assert whole.usage.input_tokens == 40
        stream = client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=sound, stream=True
        )
        *_, done = stream
        assert done.text == whole.text
        assert done.usage.total_tokens == whole.usage.total_tokens

    def test_plain_text_has_no_usage_and_is_billed_all_the_same(
        self, client: OpenAI, simulator: Simulator
    ) -> None:
        sound = ("a.wav", self.wav(client))
        simulator.reset()
        text = client.audio.transcriptions.create(
            model="whisper-1", file=sound, response_format="text"
        )
        assert isinstance(text, str)
        assert booked(simulator) == {"audio_seconds": 4}


class TestFilesAndRest:
    def test_file_lives_from_upload_to_deletion(self, client: OpenAI) -> None:
        stored = client.files.create(file=("x.jsonl", b'{"a":1}\r\n\r\n'), purpose="batch")
        assert (stored.bytes, stored.filename) == (11, "x.jsonl")
        assert client.files.content(stored.id).read() == b'{"a":1}\r\n\r\n'
        assert [file.id for file in client.files.list()] == [stored.id]
        assert client.files.delete(stored.id).deleted
        with pytest.raises(NotFoundError):
            client.files.retrieve(stored.id)

    def test_file_belongs_to_its_key(self, client: OpenAI) -> None:
        stored = client.files.create(file=("x.jsonl", b"{}"), purpose="batch")
        other = client.with_options(api_key="sk-bob")
        assert list(other.files.list()) == []
        with pytest.raises(NotFoundError):
            other.files.content(stored.id)

    def test_files_are_listed_in_pages(self, client: OpenAI) -> None:
        names = [
            client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id for n in range(5)
        ]
        page = client.files.list(limit=2)
        assert page.has_more
        assert [file.id for file in page] == names[::-1]

    def test_moderation_is_free(self, client: OpenAI, simulator: Simulator) -> None:
        answer = client.moderations.create(input=["all is well", "kill"])
        assert [result.flagged for result in answer.results] == [False, True]
        assert booked(simulator) == {}

    def test_models_are_listed(self, client: OpenAI) -> None:
        assert "gpt-4o-mini" in [model.id for model in client.models.list()]
        assert client.models.retrieve("gpt-4o").id == "gpt-4o"
