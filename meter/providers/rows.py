"""List the providers: a few lines of data each.

Knows no endpoint. A new OpenAI-compatible provider is one more row here, or none at all: a host
that is listed nowhere is read as OpenAI-compatible under its own name.

`asks_usage` stands only where a stream was seen to take `stream_options.include_usage` and to
report nothing without it. Mistral answers 422 to that field; DeepSeek, Groq, Mistral, OpenRouter
and Databricks report usage in every stream, unasked.
"""

from typing import Final

from meter.providers.provider import Provider

_CHAT: Final = frozenset({"chat"})
_CHAT_AND_COMPLETIONS: Final = frozenset({"chat", "completions"})

# Source: https://platform.openai.com/docs/api-reference/completions ("max_tokens" defaults to
# 16), 2026-11.
_COMPLETIONS_DEFAULT: Final = 16

OPENAI: Final = Provider(
    "openai",
    ("api.openai.com", "*.api.openai.com"),
    asks_usage=_CHAT_AND_COMPLETIONS,
    free_moderations=True,
    default_max_tokens=_COMPLETIONS_DEFAULT,
)

AZURE: Final = Provider(
    "azure",
    (
        "*.openai.azure.com",
        "*.openai.azure.us",
        "*.services.ai.azure.com",
        "*.cognitiveservices.azure.com",
        "*.inference.ai.azure.com",
    ),
    asks_usage=_CHAT_AND_COMPLETIONS,
    # Older versions answer 400 or 422 to `stream_options`.
    # Source: https://github.com/openai/openai-python/issues/1469 (2026-11).
    asks_usage_since="2024-09-01",
    default_max_tokens=_COMPLETIONS_DEFAULT,
)

ANTHROPIC: Final = Provider("anthropic", ("api.anthropic.com",), shape="anthropic")
GOOGLE: Final = Provider("google", ("generativelanguage.googleapis.com",), shape="google")
VERTEX: Final = Provider("vertex", ("*aiplatform.googleapis.com",), shape="google")

PROVIDERS: Final = (
    OPENAI,
    Provider("github", ("models.github.ai", "models.inference.ai.azure.com"), asks_usage=_CHAT),
    AZURE,
    ANTHROPIC,
    GOOGLE,
    VERTEX,
    Provider("mistral", ("api.mistral.ai", "codestral.mistral.ai"),
             aliases={"/v1/agents/completions": "/v1/chat/completions"}),
    Provider("groq", ("api.groq.com",)),
    Provider("cohere", ("api.cohere.com", "api.cohere.ai")),
    Provider("deepseek", ("api.deepseek.com",)),
    # Source: https://github.com/Wei-Shaw/sub2api/issues/5771 (2026-11): reasoning is apart.
    Provider("xai", ("api.x.ai", "*.api.x.ai"), asks_usage=_CHAT, reasoning_apart=True),
    Provider("openrouter", ("openrouter.ai", "*.openrouter.ai")),
    Provider("perplexity", ("api.perplexity.ai",)),
    Provider("together", ("api.together.xyz", "api.together.ai")),
    Provider("fireworks", ("api.fireworks.ai",)),
    Provider("cerebras", ("api.cerebras.ai",)),
    Provider("huggingface", ("router.huggingface.co",), asks_usage=_CHAT),
    # Source: https://help.aliyun.com/zh/model-studio (2026-11): no usage in streams unasked.
    Provider("dashscope", ("dashscope*.aliyuncs.com",), asks_usage=_CHAT),
    Provider("zhipu", ("open.bigmodel.cn",)),
    Provider("zai", ("api.z.ai",)),
    Provider("moonshot", ("api.moonshot.cn", "api.moonshot.ai")),
    Provider("cloudflare", ("api.cloudflare.com",), asks_usage=_CHAT),
    Provider("databricks", ("*.azuredatabricks.net", "*.databricks.com")),
    Provider("writer", ("api.writer.com",), asks_usage=_CHAT,
             aliases={"/v1/chat": "/v1/chat/completions"}),
    Provider("voyage", ("api.voyageai.com",)),
    Provider("bedrock", ("bedrock-mantle.*.api.aws", "bedrock-runtime*.amazonaws.com",
                         "bedrock-runtime*.amazonaws.com.cn",
                         "bedrock-agent-runtime.*.amazonaws.com")),
    Provider("sagemaker", ("runtime*.sagemaker*.amazonaws.com",
                           "runtime*.sagemaker*.amazonaws.com.cn")),
    Provider("replicate", ("api.replicate.com",)),
    Provider("alephalpha", ("api.aleph-alpha.com",)),
    Provider("jina", ("api.jina.ai",)),
    Provider("watsonx", ("*.ml.cloud.ibm.com",),
             aliases={"/text/chat": "/chat/completions", "/text/chat_stream": "/chat/completions"}),
    Provider("ollama", ("ollama.com",), asks_usage=_CHAT),
    Provider("zhizengzeng", ("api.zhizengzeng.com", "*.zhizengzeng.com", "flag.smarttrot.com"),
             issuer="zhizengzeng"),
    Provider("ztoken", ("api.ztoken.pro", "*.ztoken.pro"), issuer="zhizengzeng"),
)  # fmt: skip
"""Every provider that is known, the more specific hosts first."""

OLLAMA_PORT: Final = 11434
"""The port on which a server of this machine is taken for Ollama."""
