"""Rate cards: what genai-prices publishes, our own dated additions, and users' rate files.

`book.py` is what others use. Importing this package reads no price data; the first lookup does.
"""
