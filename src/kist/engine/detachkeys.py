"""Docker's notation of detach keys: ``ctrl-p,ctrl-q``, ``a,b``, ``ctrl-\\``. Pure."""

from __future__ import annotations

from kist.errors import InvalidParameter

DEFAULT = b"\x10\x11"  # ctrl-p ctrl-q
_CONTROL = {**{chr(ord("a") + number): bytes([number + 1]) for number in range(26)},
            "@": b"\x00", "[": b"\x1b", "\\": b"\x1c", "]": b"\x1d", "^": b"\x1e", "_": b"\x1f"}


def parse(text: str | None) -> bytes:
    """The bytes that detach; None and the empty text mean the default."""
    if not text:
        return DEFAULT
    found = b""
    for word in text.split(","):
        key = word.lower()
        if len(word) == 1 and word.isascii():
            found += word.encode()
        elif key.startswith("ctrl-") and key[5:] in _CONTROL:
            found += _CONTROL[key[5:]]
        else:
            raise InvalidParameter(f"Invalid escape keys ({text}) provided")
    return found
