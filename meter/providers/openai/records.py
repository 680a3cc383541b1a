"""Know the calls to OpenAI's stored objects that cost nothing by themselves.

Files, uploads, vector stores and conversations are kept, some of them for money by the gibibyte
and day, which no call tells; making, changing, listing and deleting them is free. They are
counted as calls under these names and not as unmetered. Called by `dialect.py`.

Source: https://platform.openai.com/docs/pricing (storage; file search is a tool of responses),
paths of SDK openai 3.54, 2026-11.
"""

import re
from typing import Final

_ID: Final = r"[^/:]+"
_RECORDS: Final = (
    # name, methods, path
    ("files", "GET POST DELETE", rf"/files(?:/{_ID})?"),
    ("uploads", "POST", rf"/uploads(?:/{_ID}/(?:parts|complete|cancel))?"),
    ("vector_stores", "GET POST DELETE", rf"/vector_stores(?:/{_ID}){{0,5}}"),
    ("conversations", "GET POST DELETE", rf"/conversations(?:/{_ID}(?:/items(?:/{_ID})?)?)?"),
    ("containers", "GET DELETE", rf"/containers(?:/{_ID}(?:/files(?:/{_ID}(?:/content)?)?)?)?"),
    ("containers", "POST", rf"/containers/{_ID}/files"),
    ("assistants", "GET POST DELETE", rf"/assistants(?:/{_ID})?"),
    ("threads", "GET POST DELETE", rf"/threads(?:/(?!runs$){_ID}(?:/messages(?:/{_ID})?)?)?"),
    ("threads", "GET", rf"/threads/{_ID}/runs(?:/{_ID}/steps(?:/{_ID})?)?"),
    ("fine_tuning", "GET", rf"/fine_tuning/jobs/{_ID}/(?:events|checkpoints)"),
    ("fine_tuning", "GET POST DELETE", r"/fine_tuning/checkpoints/.+/permissions(?:/[^/:]+)?"),
    ("responses", "GET", rf"/responses/{_ID}/input_items"),
    ("chat", "GET", rf"/chat/completions/{_ID}/messages"),
    ("chat", "POST", rf"/chat/completions/{_ID}"),
    ("videos", "GET DELETE", rf"/videos(?:/{_ID}(?:/content)?)?"),
    ("models", "GET DELETE", r"/(?:models|engines)(?:/[^/]+){0,2}"),
    ("realtime", "POST", r"/realtime/(?:client_secrets|sessions|transcription_sessions)"),
    ("organization", "GET", r"/organization/.+"),
)  # fmt: skip
_BY_METHOD: Final = {
    method: re.compile(
        "|".join(
            f"(?P<r{number}>{path}$)"
            for number, (_, methods, path) in enumerate(_RECORDS)
            if method in methods.split()
        ),
        re.IGNORECASE,
    )
    for method in ("GET", "POST", "DELETE")
}


def record_endpoint(method: str, path: str) -> str | None:
    """Return the name of a call on stored objects that is free, None for any other."""
    paths = _BY_METHOD.get("GET" if method == "HEAD" else method)
    found = paths.search(path) if paths is not None else None
    if found is None or found.lastgroup is None:
        return None
    return _RECORDS[int(found.lastgroup[1:])][0]
