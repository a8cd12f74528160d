"""Numbers and foreign text as the screen shows them. Pure."""

from __future__ import annotations

import re

# CSI sequences that only colour (SGR); every other escape sequence and control character is dropped: what a
# container prints must not move our cursor, set titles or answer back (ECMA-48 8.3.117, 5.4).
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?"
                       r"|[ -/]*[0-~])?")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Text that colours at most; the last of several states of a line (a progress bar's `\\r`) is what stays."""
    text = text.rstrip("\r\n").rpartition("\r")[2]
    text = _SEQUENCE.sub(lambda found: found[0] if _COLOUR.match(found[0]) else "", text)
    return _CONTROL.sub("", text).expandtabs(8)


def plain(text: str) -> str:
    """The same without colours."""
    return _SEQUENCE.sub("", harmless(text))


def size(number: float) -> str:
    """At most 5 characters: `0`, `999`, `1.2K`, `345M`, `7.8G`."""
    for unit in ("", "K", "M", "G", "T"):
        if number < 1000:
            break
        if unit != "T":
            number /= 1024
    if not unit:
        return f"{number:.0f}"
    return f"{number:.1f}{unit}" if number < 99.95 else f"{number:.0f}{unit}"


def rate(number: float) -> str:
    """Bytes a second."""
    return f"{size(number)}/s"


def percent(number: float) -> str:
    """At most 5 characters."""
    return f"{number:.1f}" if number < 999.95 else f"{number:.0f}"


def fit(text: str, width: int) -> str:
    """Exactly `width` cells of text whose characters are one cell wide; cut with an ellipsis."""
    if len(text) > width:
        return text[:width - 1] + "…" if width > 0 else ""
    return text.ljust(width)
