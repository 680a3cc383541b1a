"""Pack published rank files: `python -m meter.tokens.ranks.pack FOLDER_WITH_TIKTOKEN_FILES`.

Run by hand when an encoding is added; prints the sha256 of each packed file, to be copied into
`meter.tokens.encodings`. Knows nothing of tiktoken.
"""

import base64
import hashlib
import sys
import zlib
from pathlib import Path

from meter.tokens.ranks import PUBLISHED_SHA256


def pack(published: bytes) -> bytes:
    """Return the packed form of one published rank file (lines of base64 token, space, rank).

    Raises: ValueError when a token is empty or longer than 255 bytes.
    """
    tokens: dict[int, bytes] = {}
    for line in published.splitlines():
        if line:
            token, rank = line.split()
            tokens[int(rank)] = base64.b64decode(token)
    if not all(0 < len(token) < 256 for token in tokens.values()):
        raise ValueError("found a token of 0 or more than 255 bytes, expected 1 to 255")
    slots = [tokens.get(rank, b"") for rank in range(max(tokens) + 1)]
    lengths = bytes(len(token) for token in slots)
    return zlib.compress(len(slots).to_bytes(4, "big") + lengths + b"".join(slots), 9)


def main(folder: Path) -> None:
    """Write the packed files beside this module.

    Raises: ValueError when a source has other bytes than were published.
    """
    for name, expected in PUBLISHED_SHA256.items():
        published = (folder / f"{name}.tiktoken").read_bytes()
        found = hashlib.sha256(published).hexdigest()
        if found != expected:
            raise ValueError(f"{name}: found sha256 {found}, expected {expected}")
        packed = pack(published)
        Path(__file__).with_name(f"{name}.ranks.zlib").write_bytes(packed)
        print(f'    "{name}": "{hashlib.sha256(packed).hexdigest()}",')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
