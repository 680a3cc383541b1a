"""Rank files of OpenAI's published encodings, packed; read by `meter.tokens.encodings` only.

Each `<name>.ranks.zlib` is zlib over: four bytes (big-endian) with the number of slots, one
length byte a slot in rank order (0 = this rank is not a merge), then the bytes of all tokens one
after the other. Packed like this the four files take 1.8 MB instead of 7.0 MB and load in half
the time of the text form.

Source: https://openaipublic.blob.core.windows.net/encodings/<name>.tiktoken (published with
tiktoken, MIT licence; read 2026-11-22). The sha256 of each published file is `PUBLISHED_SHA256`;
a test rebuilds the published bytes from the packed ones and compares. `pack.py` makes the packed
files from the published ones.
"""

from typing import Final

PUBLISHED_SHA256: Final = {
    "r50k_base": "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    "p50k_base": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
