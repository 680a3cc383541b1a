"""Make sound files to upload."""

import io
import wave


def spoken(seconds: int) -> bytes:
    """Return a WAV file of so many seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(2 * 8000 * seconds))
    return file.getvalue()
