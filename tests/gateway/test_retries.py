"""An SDK's retries are calls of their own, under one operation."""

import openai
import pytest

HELLO = [{"role": "user", "content": "hello"}]


def test_retries_continue_the_operation_of_the_call_that_failed(gateway):
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(
            model="gpt-4o-mini@status-503,retry-after-0.01", messages=HELLO
        )
    calls = gateway.calls(3)
    assert len({call.id for call in calls}) == 3
    assert {call.operation_id for call in calls} == {calls[0].id}
    assert {call.cost_nanos for call in calls} == {0}


def test_the_same_question_again_is_an_operation_of_its_own(gateway):
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key=gateway.key(), max_retries=0
    ) as client:
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(model="gpt-4o-mini@status-503", messages=HELLO)
    first, second = gateway.calls(2)
    assert first.operation_id != second.operation_id
