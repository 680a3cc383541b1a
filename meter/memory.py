"""Give memory that is free back to the operating system.

What is loaded once leaves holes behind that the C library keeps for later: some 40 MB after the
price lists and a tokenizer's ranks. Called by the façade for a gateway, whose process is its own.
"""

import ctypes
import sys


def give_back() -> None:
    """Let glibc return what it holds unused; elsewhere do nothing."""
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        # Another C library, such as musl, keeps nothing or returns it by itself.
        return
