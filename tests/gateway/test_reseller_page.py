"""The examples of a reseller's page run as they stand: only address and key differ."""

import json
import os
import re
import subprocess
import sys

import pytest

ADDRESS = "https://api.zhizengzeng.com"


@pytest.fixture(scope="module")
def page(shared_folder):
    (file,) = (shared_folder / "seed").glob("*.txt")
    return file.read_text()


def run(command, gateway):
    environment = {
        **os.environ,
        "OPENAI_API_KEY": gateway.key(),
        "OPENAI_BASE_URL": f"{gateway.url}/v1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl_examples(page):
    return re.findall(r"^curl .*?^  \}'$", page, flags=re.S | re.M)


def python_examples(page):
    found = re.findall(r"^from openai import OpenAI\n.*?^\)(?: *:\n  \S.*?\n)?", page, re.S | re.M)
    return found


def test_the_page_has_two_examples_in_each_language(page):
    assert len(curl_examples(page)) == 2
    assert len(python_examples(page)) == 2


def test_curl_without_streaming(page, gateway, simulator):
    command = curl_examples(page)[0].replace(ADDRESS, gateway.url)
    answer = json.loads(run(["bash", "-c", command], gateway))
    assert answer["object"] == "text_completion"
    assert answer["usage"]["completion_tokens"] <= 7
    (call,) = gateway.calls()
    assert (call.endpoint, call.subject) == ("completions", "alice")
    billed = simulator.books()["quantities"]
    assert call.usage["input_tokens"] == billed["input_tokens"]
    assert call.usage["output_tokens"] == billed["output_tokens"]


def test_curl_with_streaming(page, gateway, simulator):
    command = curl_examples(page)[1].replace(ADDRESS, gateway.url)
    answer = run(["bash", "-c", command], gateway)
    assert answer.startswith("data: {")
    assert answer.endswith("data: [DONE]\n\n")
    # The client did not ask for usage: the chunk that the meter asked for is not in it.
    assert '"prompt_tokens"' not in answer
    (call,) = gateway.calls()
    assert call.usage["output_tokens"] == simulator.books()["quantities"]["output_tokens"]


def test_python_without_streaming(page, gateway, simulator):
    example = python_examples(page)[0]
    run([sys.executable, "-c", example], gateway)
    (call,) = gateway.calls()
    assert call.model_requested == "gpt-3.5-turbo-instruct"
    assert call.usage["output_tokens"] == simulator.books()["quantities"]["output_tokens"]


def test_python_with_streaming(page, gateway, simulator):
    example = python_examples(page)[1]
    assert run([sys.executable, "-c", example], gateway).strip()
    (call,) = gateway.calls()
    assert call.streaming
    assert call.usage["output_tokens"] == simulator.books()["quantities"]["output_tokens"]
