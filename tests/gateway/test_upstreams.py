"""Upstreams: which one is chosen, which address and credential a call gets, what is refused."""

import pytest

from meter.errors import ConfigError
from meter.gateway.http.origin import origin_of
from meter.gateway.requests import shape_of
from meter.gateway.upstreams import read_upstreams
from tests.gateway.serving import SECRETS


def upstreams(**tables):
    return read_upstreams(
        {name: {"base_url": "http://x", "key_env": "", **table} for name, table in tables.items()},
        environment=SECRETS,
    )


@pytest.mark.parametrize(
    ("base", "target", "expected"),
    [
        ("https://api.openai.com/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("https://api.openai.com/v1/", "/v1/models?a=b", "/v1/models?a=b"),
        ("https://api.anthropic.com", "/v1/messages", "/v1/messages"),
        ("https://api.groq.com/openai/v1", "/v1/models", "/openai/v1/models"),
        ("https://open.bigmodel.cn/api/paas/v4", "/v1/models", "/api/paas/v4/models"),
        ("https://g.com/v1beta", "/v1beta/models/m:x", "/v1beta/models/m:x"),
        ("https://g.com", "/v1beta/models/m:x", "/v1beta/models/m:x"),
        ("https://g.com/v1beta/openai", "/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("https://h.com/prefix", "/v1/chat/completions", "/prefix/v1/chat/completions"),
    ],
)
def test_the_version_of_the_base_url_replaces_the_client_s(base, target, expected):
    (upstream,) = upstreams(any={"base_url": base}).listed
    assert upstream.path_of(target) == expected
    assert upstream.origin == origin_of(base)


@pytest.mark.parametrize(
    ("shape", "model", "chosen"),
    [
        ("openai", "gpt-4o", "exact"),
        ("openai", "gpt-4o-mini", "pattern"),
        ("openai", "o3", "rest"),
        ("openai", None, "rest"),
        ("anthropic", "claude-haiku-4-5", "anthropic"),
        ("openai", "claude-haiku-4-5", "rest"),
        ("google", "gemini-2.5-flash", "rest"),
    ],
)
def test_exact_names_win_over_patterns_and_patterns_over_the_rest(shape, model, chosen):
    found = upstreams(
        rest={}, pattern={"models": ["gpt-*"]}, exact={"models": ["gpt-4o"]}, anthropic={}
    )
    assert found.choose(shape, model).name == chosen


def test_a_model_that_nobody_serves_has_no_upstream():
    found = upstreams(one={"models": ["gpt-*"]}, two={"models": ["o3"]})
    assert found.choose("openai", "claude-haiku-4-5") is None


@pytest.mark.parametrize(
    ("dialect", "shape", "header"),
    [
        ("openai", "openai", ("authorization", "Bearer secret")),
        ("anthropic", "anthropic", ("x-api-key", "secret")),
        ("anthropic", "openai", ("authorization", "Bearer secret")),
        ("google", "google", ("x-goog-api-key", "secret")),
        ("vertex", "google", ("authorization", "Bearer secret")),
        ("azure", "openai", ("api-key", "secret")),
        ("a reseller of all", "anthropic", ("x-api-key", "secret")),
    ],
)
def test_the_credential_stands_where_the_api_wants_it(dialect, shape, header):
    table = {"base_url": "http://x", "dialect": dialect, "key_env": "OWN"}
    (upstream,) = read_upstreams({"up": table}, environment={"OWN": " secret\n"}).listed
    assert upstream.credential_header(shape) == header
    assert "secret" not in repr(upstream)


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({}, "found no upstream, expected one such as"),
        ({"a b": {}}, "found upstream name 'a b'"),
        ({"x": {"url": "http://x"}}, "found 'url' in upstream x, expected one of base_url"),
        ({"x": {"base_url": "ftp://x"}}, "found base_url 'ftp://x' for upstream x"),
        ({"x": {"base_url": "http://user:pw@x"}}, "for upstream x, expected one such as"),
        ({"x": {"base_url": "http://x?a=b"}}, "for upstream x, expected one such as"),
        ({"x": {}}, "found base_url '' for upstream x"),
        (
            {"x": {"base_url": "http://x", "models": "gpt"}},
            "for models of upstream x, expected list",
        ),
        (
            {"x": {"base_url": "http://x", "models": [1]}},
            "for models of upstream x, expected names",
        ),
        ({"x": {"base_url": "http://x", "seconds": 0}}, "found 0 seconds for upstream x"),
        ({"x": {"base_url": "http://x"}}, "in the variable METER_UPSTREAM_X_KEY"),
        ({"my-own.up": {"base_url": "http://x"}}, "METER_UPSTREAM_MY_OWN_UP_KEY"),
        (
            {"x": {"base_url": "http://x", "key_file": "/absent"}},
            "cannot read the key of upstream x",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tables, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read_upstreams(tables, environment={})


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/v1/chat/completions", {}, "openai"),
        ("/v1/messages", {}, "anthropic"),
        ("/v1/messages/count_tokens", {}, "anthropic"),
        ("/v1/models", {}, "openai"),
        ("/v1/models", {"anthropic-version": "2023-06-01"}, "anthropic"),
        ("/v1/models/ft:gpt-4o:org::abc", {}, "openai"),
        ("/v1/models/ft%3Agpt-4o%3Aorg", {}, "openai"),
        ("/v1/models/gemini-2.5-flash:generateContent", {}, "google"),
        ("/v1beta/models", {}, "google"),
    ],
)
def test_a_path_tells_whose_api_it_is(path, headers, shape):
    assert shape_of(path, headers) == shape
