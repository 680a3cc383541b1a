"""Which dialect a host or a name gets."""

import pytest

from meter.providers.registry import dialect_for, dialect_named, names

HOSTS = {
    "api.openai.com": "openai",
    "API.OpenAI.com:443": "openai",
    "api.openai.com.": "openai",
    "eu.api.openai.com": "openai",
    "my-resource.openai.azure.com": "azure",
    "my.services.ai.azure.com": "azure",
    "my.cognitiveservices.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "vertex",
    "us-central1-aiplatform.googleapis.com": "vertex",
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.groq.com": "groq",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "xai",
    "openrouter.ai": "openrouter",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.fireworks.ai": "fireworks",
    "api.cerebras.ai": "cerebras",
    "router.huggingface.co": "huggingface",
    "dashscope.aliyuncs.com": "dashscope",
    "dashscope-intl.aliyuncs.com": "dashscope",
    "open.bigmodel.cn": "zhipu",
    "api.z.ai": "zai",
    "api.moonshot.cn": "moonshot",
    "api.moonshot.ai": "moonshot",
    "models.inference.ai.azure.com": "github",
    "localhost:11434": "ollama",
    "127.0.0.1:11434": "ollama",
    "[::1]:11434": "ollama",
    "localhost:8000": "localhost:8000",
    "api.openai.com.evil.example": "api.openai.com.evil.example",
    "oss.aliyuncs.com": "oss.aliyuncs.com",
    "": "",
}


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_find_their_dialect(host: str) -> None:
    assert dialect_for(host, "/v1/chat/completions").name == HOSTS[host]


def test_a_reseller_is_the_issuer() -> None:
    for host in ("api.zhizengzeng.com", "api.ztoken.pro"):
        assert dialect_for(host).issuer == "zhizengzeng"
    assert dialect_for("api.openai.com").issuer == "openai"
    assert dialect_for("unknown.example").issuer == "unknown.example"


def test_names_find_their_dialect_and_unknown_ones_a_generic_one() -> None:
    for name in names():
        assert dialect_named(name).name == name
    assert dialect_named("OpenAI").name == "openai"
    assert dialect_named("gpustack").name == "gpustack"


def test_an_unknown_host_is_judged_by_its_path() -> None:
    cases = {
        "/v1/chat/completions": ("chat", "openai"),
        "/v1/messages": ("messages", "anthropic"),
        "/v1beta/models/m:generateContent": ("generateContent", "google"),
    }
    for path, (endpoint, shape) in cases.items():
        dialect = dialect_for("models.example", path)
        reading = dialect.read("POST", path, None, b"{}")
        assert (reading.provider, reading.endpoint) == ("models.example", endpoint)
        assert dialect._provider.shape == shape


def test_unknown_hosts_are_never_asked_for_usage() -> None:
    body = b'{"model": "m", "stream": true}'
    for host in ("models.example", "api.mistral.ai", "api.perplexity.ai", "api.deepseek.com"):
        reading = dialect_for(host).read("POST", "/v1/chat/completions", None, body)
        assert (reading.body, reading.strip_usage) == (None, False)


def test_the_same_host_gets_the_same_dialect() -> None:
    assert dialect_for("models.example") is dialect_for("models.example")


def test_no_two_providers_claim_one_host() -> None:
    from meter.providers.rows import PROVIDERS

    plain = [host for provider in PROVIDERS for host in provider.hosts if "*" not in host]
    assert len(plain) == len(set(plain))
    assert len(names()) == len(PROVIDERS)
