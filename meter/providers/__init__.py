"""How each provider's API is read: requests, answers, refusals. One file an endpoint.

An OpenAI-compatible provider is one row of `rows.py`. `registry.py` finds the dialect of a host.
"""
