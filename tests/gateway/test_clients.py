"""Clients that live in environments of their own: older SDKs, litellm, Node, LangChain, curl.

Each asks the gateway in front of the simulated provider, streamed and not, and its calls are on
record as the provider's books have them.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from meter.simulator import Simulator
from tests.gateway.serving import Served

OPENAI = """
import json
import openai

client = openai.OpenAI(max_retries=0)
hello = [{"role": "user", "content": "hello"}]
told = {"version": openai.__version__}
answer = client.chat.completions.create(model="gpt-4o-mini", messages=hello)
told["chat"] = answer.choices[0].message.content
chunks = client.chat.completions.create(model="gpt-4o-mini", messages=hello, stream=True)
told["stream"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
with client.chat.completions.with_streaming_response.create(
    model="gpt-4o-mini", messages=hello
) as raw:
    told["raw"] = raw.parse().usage.completion_tokens
legacy = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say yes.", max_tokens=3)
told["legacy"] = legacy.choices[0].text
vectors = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
told["embeddings"] = len(vectors.data)
try:
    openai.OpenAI(api_key="mk-guessed", max_retries=0).models.list()
except openai.AuthenticationError as error:
    told["refused"] = error.status_code
print(json.dumps(told))
"""

LITELLM = """
import json
import os
import litellm

hello = [{"role": "user", "content": "hello"}]
place = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"]}
answer = litellm.completion(model="openai/gpt-4o-mini", messages=hello, **place)
told = {"chat": answer.choices[0].message.content, "tokens": answer.usage.completion_tokens}
chunks = litellm.completion(model="openai/gpt-4o-mini", messages=hello, stream=True, **place)
told["stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
print(json.dumps(told))
"""

LANGCHAIN = """
import json
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

chat = ChatOpenAI(model="gpt-4o-mini", max_retries=0)
answer = chat.invoke("hello")
told = {"chat": answer.content, "tokens": answer.usage_metadata["output_tokens"]}
told["stream"] = "".join(str(piece.content) for piece in chat.stream("hello"))
embeddings = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False)
told["embeddings"] = len(embeddings.embed_documents(["a", "b"]))
print(json.dumps(told))
"""

NODE = """
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const answer = await client.chat.completions.create({ model: "gpt-4o-mini", messages });
const told = { chat: answer.choices[0].message.content, stream: "" };
const chunks = await client.chat.completions.create({
  model: "gpt-4o-mini", messages, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of chunks) {
  told.stream += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) told.tokens = chunk.usage.completion_tokens;
}
const vectors = await client.embeddings.create({ model: "text-embedding-3-small", input: "a" });
told.embeddings = vectors.data.length;
try {
  await new OpenAI({ apiKey: "mk-guessed", maxRetries: 0 }).models.list();
} catch (error) {
  told.refused = error.status;
}
console.log(JSON.stringify(told));
"""


def environment(gateway: Served, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "OPENAI_API_KEY": gateway.key(),
        "OPENAI_BASE_URL": f"{gateway.url}/v1",
        **more,
    }


def run(command: list[str], gateway: Served, folder: Path | None = None, **more: str) -> str:
    done = subprocess.run(
        command, env=environment(gateway, **more), capture_output=True, text=True, timeout=100,
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def agrees(gateway: Served, simulator: Simulator, number: int) -> None:
    """Tell whether so many calls are on record with what the provider billed."""
    calls = gateway.calls(number)
    billed = simulator.books()["quantities"]
    for unit in ("input_tokens", "output_tokens"):
        assert sum((call.usage or {}).get(unit, 0) for call in calls) == billed[unit]


@pytest.mark.parametrize("version", ["1", "2"])
def test_older_openai_sdks(gateway, simulator, request, version):
    path = request.getfixturevalue(f"openai{version}_path")
    told = json.loads(run([sys.executable, "-c", OPENAI], gateway, PYTHONPATH=str(path)))
    assert told["version"].startswith(f"{version}.")
    assert told["chat"] and told["chat"] == told["stream"]
    assert told["raw"] > 0 and told["legacy"]
    assert (told["embeddings"], told["refused"]) == (2, 401)
    agrees(gateway, simulator, 5)


def test_litellm_as_a_client(gateway, simulator, litellm_path):
    told = json.loads(
        run(
            [sys.executable, "-c", LITELLM],
            gateway,
            PYTHONPATH=str(litellm_path),
            LITELLM_LOCAL_MODEL_COST_MAP="True",
        ).splitlines()[-1]
    )
    assert told["chat"] and told["chat"] == told["stream"] and told["tokens"] > 0
    agrees(gateway, simulator, 2)


def test_the_openai_package_of_npm(gateway, simulator, node_path, tmp_path):
    told = json.loads(run(["node", str(written(node_path, "clients.mjs", NODE))], gateway))
    assert told["chat"] and told["chat"] == told["stream"] and told["tokens"] > 0
    assert (told["embeddings"], told["refused"]) == (1, 401)
    agrees(gateway, simulator, 3)


def test_the_resellers_examples_in_node(gateway, simulator, node_path, shared_folder):
    (page,) = (shared_folder / "seed").glob("*.txt")
    examples = re.findall(
        r'^import OpenAI from "openai";\n.*?^main\(\);\n', page.read_text(), re.S | re.M
    )
    assert len(examples) == 2
    first, second = (
        run(["node", str(written(node_path, f"example{number}.mjs", example))], gateway)
        for number, example in enumerate(examples)
    )
    assert "text_completion" in first and "finish_reason" in first
    assert second.strip()
    agrees(gateway, simulator, 2)


def written(folder: Path, name: str, script: str) -> Path:
    """Return a script beside the packages that it imports."""
    path = folder / f"{os.getpid()}-{name}"
    path.write_text(script)
    return path


def test_langchain(gateway, simulator):
    told = json.loads(run([sys.executable, "-c", LANGCHAIN], gateway).splitlines()[-1])
    assert told["chat"] and told["chat"] == told["stream"] and told["tokens"] > 0
    assert told["embeddings"] == 2
    agrees(gateway, simulator, 3)


def test_curl_with_a_stream_and_an_upload(gateway, simulator, tmp_path):
    (tmp_path / "said.wav").write_bytes(b"RIFF" + bytes(2000))
    url, key = f"{gateway.url}/v1", gateway.key()
    asked = {
        "model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hi"}],
    }  # fmt: skip
    told = run(
        ["curl", "-sN", f"{url}/chat/completions", "-H", f"Authorization: Bearer {key}",
         "-H", "Content-Type: application/json", "-d", json.dumps(asked)], gateway,
    )  # fmt: skip
    assert told.endswith("data: [DONE]\n\n")
    answer = json.loads(
        run(
            [
                "curl",
                "-s",
                f"{url}/audio/transcriptions",
                "-H",
                f"Authorization: Bearer {key}",
                "-F",
                "model=whisper-1",
                "-F",
                f"file=@{tmp_path / 'said.wav'}",
            ],
            gateway,
        )
    )
    assert "text" in answer
    gateway.calls(2)
