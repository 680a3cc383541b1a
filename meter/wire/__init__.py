"""Observe response bytes without I/O: `framer.feed(decompressor.feed(chunk))`.

Does not know providers, and never raises on foreign bytes. Called by `meter/providers/`.
"""

from meter.wire.aws_eventstream import AWSEventStreamFramer
from meter.wire.compression import Decompressor, decompressor_for
from meter.wire.framing import ByteCounter, Framer, SniffingFramer, framer_for
from meter.wire.json_array import JSONArrayFramer
from meter.wire.json_body import JSONBodyFramer
from meter.wire.ndjson import NDJSONFramer
from meter.wire.pieces import LIMIT_BYTES, NOT_YET
from meter.wire.sse import SSEFilter, SSEFramer

__all__ = [
    "LIMIT_BYTES",
    "NOT_YET",
    "AWSEventStreamFramer",
    "ByteCounter",
    "Decompressor",
    "Framer",
    "JSONArrayFramer",
    "JSONBodyFramer",
    "NDJSONFramer",
    "SSEFilter",
    "SSEFramer",
    "SniffingFramer",
    "decompressor_for",
    "framer_for",
]
