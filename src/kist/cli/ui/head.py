"""The head: which server, and what all its containers use together."""

from __future__ import annotations

import time
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from kist.cli.ui import plot, words
from kist.cli.ui.look import Look, look_of
from kist.cli.ui.model import NOTHING, Figures, Model
from kist.cli.ui.words import fit

METER = 0.5  # of the width


class Head(Widget):
    """Four lines."""

    def __init__(self, model: Model, place: str) -> None:
        super().__init__()
        self.model, self.place = model, place
        self.info: dict[str, Any] = {}
        self.lost = ""

    def show(self, info: dict[str, Any], lost: str) -> None:
        self.info, self.lost = info, lost
        self.refresh()

    def render_line(self, y: int) -> Strip:
        look, width = look_of(self), self.size.width
        total = self.model.totals[-1] if self.model.totals else NOTHING
        lines = (self._server, self._cpu, self._memory, self._network)
        if y >= len(lines):
            return Strip.blank(width)
        strip = Strip(lines[y](look, width, total)).adjust_cell_length(width, look.bar if y == 0 else None)
        return strip.apply_style(self.rich_style)

    def _server(self, look: Look, width: int, _: Figures) -> list[Segment]:
        clock = time.strftime(" %H:%M:%S ")
        name = f" {words.plain(str(self.info.get('Name', '')))}" if self.info else ""
        version = self.info.get("ServerVersion", "")
        if self.lost:
            room = width - 6 - len(clock)
            told = f" server gone, trying again: {words.plain(self.lost)}"
            return [Segment(" Kist ", look.sorted), Segment(fit(told, max(0, room)), look.bar_bad),
                    Segment(clock, look.bar_dim)]
        left, right = name, f"  {version}  {self.place}"
        room = max(0, width - 6 - len(clock) - len(left))
        return [Segment(" Kist ", look.sorted), Segment(left, look.bar_bold), Segment(fit(right, room), look.bar_dim),
                Segment(clock, look.bar_dim)]

    def _cpu(self, look: Look, width: int, total: Figures) -> list[Segment]:
        cores = int(self.info.get("NCPU") or 1)
        rows = self.model.rows.values()
        running = sum(row.state == "running" for row in rows)
        counts = f"  {len(rows)} container{'s' * (len(rows) != 1)}, {running} running"
        paused = sum(row.state == "paused" for row in rows)
        counts += f", {paused} paused" if paused else ""
        return [*_meter("CPU", total.cpu / cores / 100, f"{total.cpu:.1f}% of {cores} CPUs", look, int(width * METER)),
                *_numbers(counts, look)]

    def _memory(self, look: Look, width: int, total: Figures) -> list[Segment]:
        whole = float(self.info.get("MemTotal") or 0)
        told = f"{words.size(total.memory)} of {words.size(whole)}"
        return [*_meter("Mem", total.memory / whole if whole else 0.0, told, look, int(width * METER)),
                *_numbers(f"  {total.pids} processes", look)]

    def _network(self, look: Look, width: int, total: Figures) -> list[Segment]:
        history = list(self.model.totals)
        room = int(width * METER)
        segments: list[Segment] = []
        for name, style, values, told in (
                ("Net", look.network, [f.network for f in history],
                 f"↓{words.rate(total.received)} ↑{words.rate(total.sent)}"),
                ("Disk", look.block, [f.block for f in history],
                 f"r {words.rate(total.read)} w {words.rate(total.written)}")):
            cells = max(4, room - len(told) - len(name) - 4)
            bars = plot.spark(values, cells, plot.nice_bytes(max(values[-cells:], default=0.0)))
            segments += [Segment(f" {name} ", look.title), Segment(bars, style), Segment(f" {told} ", look.text)]
        return segments


def _meter(name: str, part: float, told: str, look: Look, width: int) -> list[Segment]:
    """`CPU[||||||      12.3%]`: bars that turn from good to bad, the figure at the right end."""
    inner = max(0, width - len(name) - 3)
    filled = round(min(1.0, part) * inner)
    text = ("|" * filled).ljust(inner)
    told = told[:inner]
    cut = inner - len(told)
    segments = [Segment(f" {name}", look.title), Segment("[", look.bold)]
    for start, end, style in ((0, 0.6, look.good), (0.6, 0.85, look.warn), (0.85, 1.0, look.bad)):
        piece = text[round(start * inner):round(end * inner)][:max(0, cut - round(start * inner))]
        segments.append(Segment(piece, style))
    return [*segments, Segment(told, look.bold), Segment("]", look.bold)]


def _numbers(text: str, look: Look) -> list[Segment]:
    """The numbers in it stand out."""
    return [Segment(word + " ", _style(word, look)) for word in text.split(" ")]


def _style(word: str, look: Look) -> Style:
    return look.bold if word.isdigit() else look.dim
