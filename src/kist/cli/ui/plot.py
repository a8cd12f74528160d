"""Values over time as lines of braille dots: two values a cell, four steps a line. Pure.

    ⠀⠀⠀⠀⢀⣀⠀⠀⣰⡆        the newest value is at the right; a value of 0 still leaves a dot, so that one
    ⣀⣀⣠⣤⣾⣿⣤⣠⣿⣷        sees since when there are values
"""

from __future__ import annotations

from collections.abc import Sequence

# Unicode 15, block 2800: bits 1-3 and 7 are the left column from the top, 4-6 and 8 the right one.
_UP = ((0, 0x40, 0x44, 0x46, 0x47), (0, 0x80, 0xA0, 0xB0, 0xB8))
_DOWN = ((0, 0x01, 0x03, 0x07, 0x47), (0, 0x08, 0x18, 0x38, 0xB8))
_BARS = " ▁▂▃▄▅▆▇█"


def area(values: Sequence[float], width: int, height: int, top: float, *, hanging: bool = False) -> list[str]:
    """`height` lines of `width` cells, `top` being the value that fills them; `hanging` from the first line."""
    steps = height * 4
    filled = [max(1, min(steps, round(value / top * steps))) if top > 0 else 1 for value in values[-2 * width:]]
    filled = [0] * (2 * width - len(filled)) + filled
    bits = _DOWN if hanging else _UP
    lines = []
    for line in range(height):
        below = line * 4 if hanging else (height - 1 - line) * 4
        lines.append("".join(
            chr(0x2800 | bits[0][_clamp(filled[at] - below)] | bits[1][_clamp(filled[at + 1] - below)])
            for at in range(0, 2 * width, 2)))
    return lines


def _clamp(steps: int) -> int:
    return 0 if steps < 0 else min(steps, 4)


def spark(values: Sequence[float], width: int, top: float) -> str:
    """One line of bars."""
    shown = values[-width:]
    text = "".join(_BARS[min(8, max(1, round(value / top * 8)))] if top > 0 else _BARS[1] for value in shown)
    return text.rjust(width)


def nice(value: float, least: float) -> float:
    """The end of a scale: 1, 2 or 5 times a power of ten, not below the value or `least`."""
    wanted = max(value, least)
    power = 1.0
    while power * 10 <= wanted:
        power *= 10
    return next(step * power for step in (1, 2, 5, 10) if step * power >= wanted)


def nice_bytes(value: float, least: float = 1024.0) -> float:
    """The same in powers of 1024, doubling."""
    end = least
    while end < value:
        end *= 2
    return end
