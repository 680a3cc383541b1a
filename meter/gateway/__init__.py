"""Stand before model APIs: check the key, ask the ledger, send the call on, record what it used.

`app.Gateway` is the ASGI application and `serving.serve` runs it. The way of a call is in
`relay`, which drives the same pipeline as the wrapper's transports.
"""
