"""Read the content of a message: words, and the media between them with what they cost.

Knows the parts of OpenAI's chat and responses messages. Called by `chat` and `responses`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meter.tokens.audio import audio_tokens
from meter.tokens.counting import count_text
from meter.tokens.files import pdf_outline
from meter.tokens.formats import is_openai
from meter.tokens.images import inline_image_size, openai_image_tokens, other_image_tokens
from meter.tokens.media import Media, media_of
from meter.tokens.shapes import list_of, mapping_of

_AUDIO_TOKENS_PER_SECOND = 10
_FILE_FRAME_TOKENS = 40
# What showing a page adds to its text: 953 to 982 in requests recorded in 2026, for any model.
_PAGE_TOKENS = 957
# How much less frames a result of a function that shows an image: 15 to 17 tokens in each of four
# recorded requests (gpt-4.1-nano, gpt-5-nano; chat and responses).
_RESULT_WITH_MEDIA_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Reader:
    """Read contents for one model. `pages_shown`: the pages of files are given as images too."""

    model: str
    encoding_name: str
    pages_shown: bool

    def read(self, content: object, *, is_result: bool = False) -> tuple[tuple[str, ...], int]:
        """Return the texts, neighbouring ones joined, and the tokens of what is between them.

        `is_result`: it is what a function returned.
        """
        if isinstance(content, str):
            return (content,), 0
        texts = [""]
        media_tokens = 0
        for part in list_of(content):
            text = part if isinstance(part, str) else mapping_of(part).get("text")
            if text is None and isinstance(mapping_of(part).get("thinking"), list):
                # Mistral's thoughts, which go back as they came.
                text = content_text(part["thinking"])
            if isinstance(text, str):
                texts[-1] += text
                continue
            texts.append("")
            media_tokens += self._media_tokens(mapping_of(part))
        if is_result and media_tokens and is_openai(self.model):
            media_tokens = max(0, media_tokens - _RESULT_WITH_MEDIA_TOKENS)
        return tuple(text for text in texts if text), media_tokens

    def _media_tokens(self, part: Mapping[str, Any]) -> int:
        media = media_of(part)
        if media is None:
            return 0
        if media.kind == "image":
            size = inline_image_size(media.encoded)
            if not is_openai(self.model):
                return other_image_tokens(self.model, size)
            return openai_image_tokens(self.model, size, media.detail)
        if media.kind == "audio":
            return audio_tokens(media, _AUDIO_TOKENS_PER_SECOND)
        return self._file_tokens(media)

    def _file_tokens(self, media: Media) -> int:
        """Approximate: the text of the pages, and each page as an image where they are shown."""
        content = media.decoded()
        if not content.startswith(b"%PDF"):
            text = content.decode("utf-8", "replace")
            return _FILE_FRAME_TOKENS + count_text(text, self.encoding_name)
        outline = pdf_outline(content)
        tokens = _FILE_FRAME_TOKENS + count_text(outline.text, self.encoding_name)
        if self.pages_shown:
            tokens += outline.pages * _PAGE_TOKENS
        return tokens


def content_text(content: object) -> str:
    """Return all text of a message's content as one string."""
    if isinstance(content, str):
        return content
    parts = (p if isinstance(p, str) else mapping_of(p).get("text") for p in list_of(content))
    return "".join(part for part in parts if isinstance(part, str))
