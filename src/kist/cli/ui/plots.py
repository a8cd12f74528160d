"""Four plots over time, side by side or two by two: processor, memory, network, disk."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from kist.cli.ui import plot, words
from kist.cli.ui.look import Look
from kist.cli.ui.model import NOTHING, Figures
from kist.cli.ui.words import fit

SIDE_BY_SIDE = 112  # cells from which on all four stand in one row
GAP = 2
Block = list[list[Segment]]


def plots(history: Sequence[Figures], look: Look, width: int, height: int) -> list[Strip]:
    """`height` lines of `width` cells."""
    across = 4 if width >= SIDE_BY_SIDE else 2
    rows = 4 // across
    wide = (width - GAP * (across + 1)) // across
    tall = max(2, height // rows)
    blocks = [draw(history, look, wide, tall) for draw in (_cpu, _memory, _network, _disk)]
    lines: list[list[Segment]] = []
    for start in range(0, 4, across):
        for y in range(tall):
            line = []
            for block in blocks[start:start + across]:
                line += [Segment(" " * GAP), *block[y]]
            lines.append(line)
    return [Strip(line).adjust_cell_length(width) for line in lines[:height]]


def _title(name: str, now: str, scale: str, look: Look, width: int, style: Style) -> list[Segment]:
    """`CPU 12.3%            ▔ 50%`: the scale is the value of the plot's upper edge."""
    left = f"{name} "
    room = max(0, width - len(left) - len(scale))
    return [Segment(left, look.title), Segment(fit(now, room), style + Style(bold=True)), Segment(scale, look.dim)]


def _filled(lines: list[str], style: Style) -> Block:
    return [[Segment(line, style)] for line in lines]


def _cpu(history: Sequence[Figures], look: Look, width: int, height: int) -> Block:
    values = [figures.cpu for figures in history][-2 * width:]
    top = plot.nice(max(values, default=0.0), 10.0)
    now = values[-1] if values else 0.0
    lines = plot.area(values, width, height - 1, top)
    styles = [_heat(top * (len(lines) - index) / len(lines), look) for index in range(len(lines))]
    return [_title("CPU", f"{now:.1f}%", f"▔ {top:.0f}%", look, width, look.cpu),
            *[[Segment(line, style)] for line, style in zip(lines, styles, strict=True)]]


def _heat(value: float, look: Look) -> Style:
    """What reaches so high is well, or is not; 100 is one CPU."""
    return look.bad if value > 90 else look.warn if value > 50 else look.cpu


def _memory(history: Sequence[Figures], look: Look, width: int, height: int) -> Block:
    values = [figures.memory for figures in history][-2 * width:]
    last = history[-1] if history else NOTHING
    peak = max(values, default=0.0)
    limited = 0 < last.limit <= 4 * peak
    top = last.limit if limited else plot.nice_bytes(peak, 1 << 20)
    now = f"{words.size(last.memory)}" + (f" of {words.size(last.limit)}" if last.limit else "")
    return [_title("Memory", now, f"▔ {words.size(top)}", look, width, look.memory),
            *_filled(plot.area(values, width, height - 1, top), look.memory)]


def _network(history: Sequence[Figures], look: Look, width: int, height: int) -> Block:
    last = history[-1] if history else NOTHING
    now = f"↓{words.rate(last.received)} ↑{words.rate(last.sent)}"
    return _mirrored("Net", now, [f.received for f in history], [f.sent for f in history], look, width, height,
                     look.network)


def _disk(history: Sequence[Figures], look: Look, width: int, height: int) -> Block:
    last = history[-1] if history else NOTHING
    now = f"r {words.rate(last.read)} w {words.rate(last.written)}"
    return _mirrored("Disk", now, [f.read for f in history], [f.written for f in history], look, width, height,
                     look.block)


def _mirrored(name: str, now: str, up: list[float], down: list[float], look: Look, width: int, height: int,
              style: Style) -> Block:
    """What comes in stands on the middle, what goes out hangs from it; both on one scale."""
    up, down = up[-2 * width:], down[-2 * width:]
    top = plot.nice_bytes(max([*up, *down], default=0.0))
    upper = height // 2
    return [_title(name, now, f"▔ {words.rate(top)}", look, width, style),
            *_filled(plot.area(up, width, upper, top), style),
            *_filled(plot.area(down, width, height - 1 - upper, top, hanging=True), style)]
