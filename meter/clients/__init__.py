"""Meter the calls of HTTP clients that already exist.

`httpx_transport` and `httpx2_transport` stand between a client and its connections; `sdk` puts
them into the clients of the provider SDKs. `exchange` and `attempts` are what both share.
"""
