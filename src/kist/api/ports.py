"""Ports as users write them: `80`, `80-82`. Pure."""

from __future__ import annotations

MOST = 65535


def span(text: str) -> tuple[int, int]:
    """First and last. ValueError as Go and Docker word it (strconv.ParseUint, nat.ParsePortRange)."""
    first, mark, last = text.partition("-")
    for part in (first, last) if mark else (first,):
        if not (part.isascii() and part.isdecimal()):
            raise ValueError(f'strconv.ParseUint: parsing "{part}": invalid syntax')
        if int(part[:8]) > MOST:
            raise ValueError(f'strconv.ParseUint: parsing "{part}": value out of range')
    low, high = int(first), int(last if mark else first)
    if low > high:
        raise ValueError(f"Invalid range specified for the Port: {text}")
    return low, high
