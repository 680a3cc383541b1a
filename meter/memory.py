"""Give memory that is free back to the operating system.

What is loaded once leaves holes behind that the C library keeps for later: some 50 MB after the
price lists and a tokenizer's ranks. Called by the façade once it has loaded them.
"""

import ctypes
import gc
import sys


def give_back() -> None:
    """Collect garbage, and let glibc return what it holds unused; elsewhere only the former."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        # Another C library, such as musl, keeps nothing or returns it by itself.
        return
