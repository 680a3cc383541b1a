"""Databricks' served models."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import answer, ask, body

HOST = "adb-1.2.azuredatabricks.net"


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({"messages": []}, "chat"),
        ({"input": ["x"]}, "embeddings"),
        ({"prompt": "x"}, "completions"),
    ],
)
def test_the_body_tells_what_is_served(fields: dict[str, Any], endpoint: str) -> None:
    reading = ask(HOST, "/serving-endpoints/my-llama/invocations", **fields)
    assert (reading.provider, reading.endpoint, reading.model) == (
        "databricks",
        endpoint,
        "my-llama",
    )
    usage = {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}
    seen, _ = answer(HOST, reading, body({"usage": usage}))
    assert seen.usage is not None and seen.usage["input_tokens"] == 7
    assert isinstance(seen.usage, Usage)
