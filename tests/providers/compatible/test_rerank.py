"""Rerank, as several providers answer it."""

from typing import Any

import pytest

from meter.core.usage import Usage
from tests.providers.native_answers import answer, ask, body

ANSWERS: dict[str, tuple[str, str, dict[str, Any], Usage]] = {
    "cohere": (
        "api.cohere.com", "/v2/rerank", {"meta": {"billed_units": {"search_units": 1.0}}},
        Usage(searches=1),
    ),
    "voyage": (
        "api.voyageai.com", "/v1/rerank", {"model": "rerank-2", "usage": {"total_tokens": 43}},
        Usage(input_tokens=43),
    ),
    "jina": (
        "api.jina.ai", "/v1/rerank", {"usage": {"total_tokens": 9, "prompt_tokens": 9}},
        Usage(input_tokens=9),
    ),
    "siliconflow's shape": (
        "models.example", "/v1/rerank", {"meta": {"tokens": {"input_tokens": 20}}},
        Usage(input_tokens=20),
    ),
    "dashscope": (
        "dashscope.aliyuncs.com", "/api/v1/services/rerank/text-rerank/text-rerank",
        {"request_id": "1", "usage": {"total_tokens": 79}},
        Usage(input_tokens=79),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_each_report_is_read(case: str) -> None:
    host, path, payload, usage = ANSWERS[case]
    reading = ask(host, path, model="m", query="q", documents=["a"])
    assert (reading.endpoint, reading.max_output_tokens) == ("rerank", 0)
    seen, _ = answer(host, reading, body(payload))
    assert (seen.usage, seen.finished, seen.defects) == (usage, True, ())


def test_what_the_issuer_charged_is_kept() -> None:
    payload = {"usage": {"total_tokens": 17, "cost": 3.4e-07}}
    reading = ask("openrouter.ai", "/api/v1/rerank", model="m")
    seen, _ = answer("openrouter.ai", reading, body(payload))
    # 3.4e-07 USD are 340 nanos.
    assert (seen.usage, seen.provider_cost_nanos) == (Usage(input_tokens=17), 340)
