"""Write `docs/coverage.md`: each API surface, what the meter reads of it, and what proves that.

`make docs` calls it in a checkout. The rows say what a person must say: who serves a surface, where
its usage stands, what is billed. All else is asked of the code: which endpoint claims the path,
what is estimated when no usage comes, and which tests name the endpoint.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from meter.core.reading import UNMETERED
from meter.providers.dialect import ENDPOINTS
from meter.providers.endpoint import Endpoint
from meter.providers.openai.embeddings import NoOutput
from meter.providers.openai.others import FETCHED
from meter.providers.others import LOOKED
from meter.providers.registry import dialect_named
from meter.providers.rows import PROVIDERS
from meter.tokens.estimates import ENDPOINTS_ESTIMATED

LIKE_OPENAI: Final = tuple(
    provider.name
    for provider in PROVIDERS
    if provider.shape == "openai"
    and provider.name not in ("bedrock", "cohere", "voyage", "replicate", "alephalpha", "jina",
                              "sagemaker", "watsonx")
)  # fmt: skip
"""Who serves OpenAI's chat completions."""


class Surface(NamedTuple):
    """One API surface: calls of one shape at several providers.

    `calls` are example paths, a method other than POST before them. `read` says where usage
    stands, `billed` in which units, `stream` in which format. `name` is the endpoint's where it
    is not the one that claims the path.
    """

    calls: tuple[str, ...]
    providers: tuple[str, ...]
    read: str
    billed: str
    stream: str = "–"
    name: str = ""


_TOKENS: Final = "tokens, by cache and modality"
_USAGE: Final = "`usage`"

SURFACES: Final = (
    Surface(
        ("/v1/chat/completions", "/openai/deployments/d/chat/completions"),
        (*LIKE_OPENAI, "watsonx", "cohere", "bedrock", "google", "vertex"),
        "`usage`, `x_groq.usage`, `choices[].usage`; the last report holds",
        _TOKENS, "SSE",
    ),
    Surface(
        ("/v1/responses", "/v1/responses/compact"), ("openai", "azure", "xai", "deepseek",
        "openrouter", "bedrock", "zhizengzeng", "ztoken"),
        "`usage`, `tool_usage`, hosted calls among the output", f"{_TOKENS}; searches, tool calls",
        "SSE",
    ),
    Surface(
        ("GET /v1/responses/r", ), ("openai", "azure", "zhizengzeng", "ztoken"),
        "`usage` of a response made in the background", "once, however often it is fetched", "SSE",
    ),
    Surface(("/v1/responses/r/cancel",), ("openai", "azure"), _USAGE, "once"),
    Surface(
        ("/v1/completions", "/openai/deployments/d/completions"), LIKE_OPENAI, _USAGE, "tokens",
        "SSE",
    ),
    Surface(
        ("/v1/embeddings", "/openai/deployments/d/embeddings"),
        ("openai", "azure", "mistral", "openrouter", "ollama", "voyage", "jina", "databricks",
         "perplexity", "zhizengzeng", "ztoken"),
        _USAGE, "input tokens",
    ),
    Surface(("/v1/edits",), ("openai",), _USAGE, "tokens"),
    Surface(("/v1/moderations",), ("mistral", "zhizengzeng", "ztoken"), _USAGE,
            "tokens; free at OpenAI"),
    Surface(
        ("/v1/audio/transcriptions",),
        ("openai", "azure", "groq", "mistral", "openrouter", "cohere", "zhizengzeng", "ztoken"),
        "`usage` (tokens or seconds), else `duration`, else the uploaded file",
        "seconds or tokens", "SSE",
    ),
    Surface(
        ("/v1/audio/translations",), ("openai", "azure", "groq", "zhizengzeng", "ztoken"),
        "`duration`, else the uploaded file", "seconds",
    ),
    Surface(
        ("/v1/audio/speech",), ("openai", "azure", "mistral", "openrouter", "zhizengzeng",
        "ztoken"),
        "`usage` of a stream, else the request's text", "tokens or characters", "SSE",
    ),
    Surface(
        ("/v1/images/generations",), ("openai", "azure", "xai", "zhizengzeng", "ztoken"),
        "`usage`, `svg_usage`, the pictures", "tokens, or pictures by size and quality", "SSE",
    ),
    Surface(
        ("/v1/images/edits",), ("openai", "azure", "xai", "zhizengzeng", "ztoken"),
        "`usage`, the pictures", "tokens, or pictures by size and quality", "SSE",
    ),
    Surface(("/v1/images/variations",), ("openai", "zhizengzeng", "ztoken"), "the pictures",
            "pictures by size"),
    Surface(("/v1/videos",), ("openai", "azure", "openrouter", "zhizengzeng", "ztoken"),
            "a receipt: `seconds`, `size`", "when the video is done"),
    Surface(("GET /v1/videos/v",), ("openai", "azure", "openrouter", "zhizengzeng", "ztoken"),
            "`seconds`, `size` of a finished video", "seconds by model and size, once"),
    Surface(("/v1/batches",), ("openai", "azure", "xai", "zhizengzeng", "ztoken"), "a receipt",
            "when the batch ends"),
    Surface(("GET /v1/batches/b",), ("openai", "azure", "xai", "zhizengzeng", "ztoken"),
            "`usage` of the batch",
            "tokens at batch prices, once; less what its requests are billed for"),
    Surface(("/v1/batches/b/cancel",), ("openai", "azure", "zhizengzeng", "ztoken"), _USAGE,
            "once"),
    Surface(("GET /v1/files/f/content",), ("openai", "azure", "zhizengzeng", "ztoken"),
            "`usage` of each line of a batch's output",
            "each request at batch prices, once, to whom its `custom_id` names",
            "lines of JSON"),
    Surface(("/v1/fine_tuning/jobs",), ("openai", "azure", "zhizengzeng", "ztoken"), "a receipt",
            "when the job ends"),
    Surface(("GET /v1/fine_tuning/jobs/j",), ("openai", "azure", "zhizengzeng", "ztoken"),
            "`trained_tokens` of a finished job", "trained tokens, once"),
    Surface(("/v1/fine_tuning/jobs/j/cancel",), ("openai", "azure"), "`trained_tokens`", "once"),
    Surface(("/v1/threads/t/runs", "/v1/threads/runs"), ("openai", "azure", "zhizengzeng",
            "ztoken"), "`usage` of the run, not of its steps", "tokens, once", "SSE"),
    Surface(("GET /v1/threads/t/runs/r",), ("openai", "azure", "zhizengzeng", "ztoken"),
            "`usage` of a finished run", "tokens, once"),
    Surface(("/v1/threads/t/runs/r/submit_tool_outputs",), ("openai", "azure", "zhizengzeng",
            "ztoken"), "`usage` of the run", "tokens, once", "SSE"),
    Surface(("/v1/containers",), ("openai", "azure"), "the container's memory", "sessions"),
    Surface(("/v1/decisions",), ("openai",), _USAGE, "tokens"),
    Surface(
        ("/v1/messages", "/anthropic/v1/messages"),
        ("anthropic", "azure", "deepseek", "moonshot", "zai", "zhipu", "openrouter", "zhizengzeng",
         "ztoken"),
        "`usage`, `iterations`; a stream's `message_start` and last `message_delta`",
        "tokens, cache writes of 5 minutes and an hour; searches", "SSE",
    ),
    Surface(("/v1/messages/batches",), ("anthropic",), "a receipt", "when the batch ends"),
    Surface(("GET /v1/messages/batches/b",), ("anthropic",), "how far the batch is", "nothing"),
    Surface(("GET /v1/messages/batches/b/results",), ("anthropic",), "each line's message",
            "each request at batch prices, once, to whom its `custom_id` names", "lines of JSON"),
    Surface(("/v1/complete", "/complete"), ("anthropic", "alephalpha"),
            "`num_tokens_…` at Aleph Alpha", "tokens", "SSE"),
    Surface(
        ("/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent"),
        ("google", "vertex"), "`usageMetadata`, thoughts beside the candidates; the last holds",
        _TOKENS, "SSE, JSON array",
    ),
    Surface(("/v1beta/models/m:embedContent", "/v1beta/models/m:batchEmbedContents"),
            ("google", "vertex"), "`usageMetadata` of newer models", "input tokens"),
    Surface(("/v1beta/cachedContents",), ("google", "vertex"), "`usageMetadata.totalTokenCount`",
            "tokens"),
    Surface(("/v1/publishers/google/models/m:predict",), ("google", "vertex"),
            "tokens of each embedding, `tokenMetadata`, characters, pictures",
            "tokens, characters, pictures"),
    Surface(("/v1beta/models/m:batchGenerateContent",), ("google", "vertex"), "a receipt",
            "when the batch ends"),
    Surface(("/v1beta/models/m:predictLongRunning",), ("google", "vertex"), "a receipt",
            "when the operation ends"),
    Surface(("/v1/publishers/google/models/m:fetchPredictOperation",), ("vertex",),
            "the finished operation", "once"),
    Surface(("GET /v1beta/batches/b",), ("google",), "the finished batch", "tokens, once"),
    Surface(("/v1beta/interactions",), ("google",), "`usage`, `grounding_tool_count`",
            "tokens, searches", "SSE"),
    Surface(
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",), ("vertex",),
        "as the maker's own endpoint", "as there", "SSE", "rawPredict",
    ),
    Surface(("/model/m/converse", "/model/m/converse-stream"), ("bedrock",),
            "`usage`, cache beside the input; event `metadata`", "tokens", "AWS event stream"),
    Surface(("/model/m/invoke", "/model/m/invoke-with-response-stream"), ("bedrock",),
            "the maker's body, else Amazon's headers or last chunk", "tokens, pictures",
            "AWS event stream"),
    Surface(("/v2/chat", "/v1/chat"), ("cohere", ), "`billed_units` of `usage` or `meta`",
            "billed units", "SSE, lines of JSON"),
    Surface(("/v1/generate", "/v1/summarize"), ("cohere",), "`meta.billed_units`", "billed units",
            "lines of JSON"),
    Surface(("/v2/embed", "/v1/classify", "/v1/parse"), ("cohere",), "`meta.billed_units`",
            "billed units"),
    Surface(("/v2/rerank",), ("cohere", "voyage", "jina", "openrouter"),
            "`billed_units.search_units`, or `total_tokens`", "searches or tokens"),
    Surface(("/api/chat",), ("ollama",), "`prompt_eval_count`, `eval_count` of the last line",
            "tokens", "lines of JSON"),
    Surface(("/api/generate",), ("ollama",), "`prompt_eval_count`, `eval_count` of the last line",
            "tokens", "lines of JSON"),
    Surface(("/api/embed", "/api/embeddings"), ("ollama",), "`prompt_eval_count`", "tokens"),
    Surface(("/v1/ocr",), ("mistral", "azure"), "`usage_info.pages_processed`", "pages"),
    Surface(("/v1/conversations",), ("mistral",), "`usage`, connectors as tool use", "tokens",
            "SSE"),
    Surface(("/api/v1/services/aigc/text-generation/generation",), ("dashscope",),
            "`usage`, the last one", "tokens, pictures", "SSE"),
    Surface(("/v1/multimodalembeddings", "/v1/contextualizedembeddings"), ("voyage",),
            "`total_tokens`", "tokens"),
    Surface(("/v1/predictions",), ("replicate",), "token counts in `metrics`", "tokens", "SSE"),
    Surface(("/generate", "/generate_stream", "/endpoints/e/invocations"),
            ("huggingface", "sagemaker"), "`details`", "tokens", "SSE"),
    Surface(("/ml/v1/text/generation", "/ml/v1/text/generation_stream"), ("watsonx",),
            "counts of the result", "tokens", "SSE"),
    Surface(("/client/v4/accounts/a/ai/run/@cf/m/x",), ("cloudflare",), "`result.usage`", "tokens",
            "SSE"),
    Surface(("/serving-endpoints/e/invocations",), ("databricks",), "as OpenAI's", "tokens", "SSE",
            "serving"),
)  # fmt: skip

_LOOK: Final = re.compile(r"\.(?:cancel|fetch|results|retrieve|steer|submit)$")

_INTRODUCTION: Final = """\
# What is read of which API

Made by `make docs` from the code. A row is one API surface: its calls, the endpoint under whose
name they are recorded, who serves it, where its usage is read, what is estimated when no usage
comes (from the request: *input*; from what was delivered: *output*), what is billed, how it
streams, and the tests that name it. `tests/providers/test_corpus_everywhere.py` reads recorded
answers of 84 pairs of a provider and an endpoint besides.

Every surface is read at every host: resellers and proxies serve them all. A path that stands
nowhere here passes through as *unmetered*; a usage object in its answer is recorded all the same.
Usage in another API's words, under a wrong content type or in lines is read too.

"""
_CLOSING: Final = """
Free, and recorded as such: counting tokens (`count_tokens`, `:countTokens`, `tokenize`), listing
models, and the records of files, uploads, vector stores, conversations and stored answers.
Realtime sessions are metered by the gateway, each response as a call.
"""


def rows(tests: Path) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each surface; `tests` is the folder that the tests lie in."""
    sources = {
        path.relative_to(tests.parent).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((tests / "providers").rglob("test_*.py"))
    }
    for surface in SURFACES:
        name = surface.name or endpoint_of(surface)
        yield (
            "<br>".join(f"`{call}`" for call in surface.calls),
            f"`{name}`",
            ", ".join(sorted(surface.providers)),
            surface.read,
            estimated(name),
            surface.billed,
            surface.stream,
            "<br>".join(proofs(surface, name, sources)),
        )


def endpoint_of(surface: Surface) -> str:
    """Return the endpoint that claims the first call of a surface."""
    method, _, path = surface.calls[0].rpartition(" ")
    reading = dialect_named(surface.providers[0]).read(method or "POST", path, None, b"{}")
    return reading.endpoint


def estimated(name: str) -> str:
    """Say what is counted of an endpoint whose answer reports nothing."""
    parts = ["input"] if name in ENDPOINTS_ESTIMATED else []
    if not isinstance(_endpoint(name).output(), NoOutput):
        parts.append("output")
    return ", ".join(parts) or "–"


def proofs(surface: Surface, name: str, sources: dict[str, str]) -> Iterator[str]:
    """Yield the tests of the endpoint's own room that name it, or the end of one of its paths."""
    room = f"tests/{_room_of(name)}/"
    ends = [end for call in surface.calls for end in re.split(r"[/: ]", call)[-2:]]
    # A look at some work is tested with the work itself.
    words = {name, _LOOK.sub("", name), *(end for end in ends if len(end) > 3)}
    words -= {"chat"} if room.endswith("/openai/") else set()
    named = re.compile("|".join(rf"""["'/:.]{re.escape(word)}\b""" for word in sorted(words)))
    for path, source in sources.items():
        if path.startswith(room) and named.search(source):
            yield path.removeprefix("tests/providers/")


def _endpoint(name: str) -> Endpoint:
    return next(each for each in (*ENDPOINTS, *FETCHED, *LOOKED) if each.name == name)


def _room_of(name: str) -> str:
    """Return the folder, below `meter/` as below `tests/`, that an endpoint stands in."""
    return "/".join(type(_endpoint(name)).__module__.split(".")[1:-1])


def page(tests: Path) -> str:
    """Return the page."""
    head = ("call", "endpoint", "providers", "usage is read from", "estimated", "billed", "stream",
            "tests in `tests/providers/`")  # fmt: skip
    lines = [head, ("---",) * len(head), *rows(tests)]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return _INTRODUCTION + table + _CLOSING


def unmetered_calls() -> list[str]:
    """Return the calls of the table that no endpoint claims: there should be none."""
    found = []
    for surface in SURFACES:
        for call in surface.calls:
            method, _, path = call.rpartition(" ")
            for provider in surface.providers:
                reading = dialect_named(provider).read(method or "POST", path, None, b"{}")
                if reading.endpoint in (UNMETERED, "records"):
                    found.append(f"{provider} {call}")
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(page(target.resolve().parents[1] / "tests"), encoding="utf-8")
