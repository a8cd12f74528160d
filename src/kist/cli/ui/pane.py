"""The lower pane: plots, log, processes or details of the container under the cursor."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.highlighter import JSONHighlighter
from rich.segment import Segment
from rich.text import Text
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kist.cli.output import table
from kist.cli.ui import words
from kist.cli.ui.look import Look, look_of
from kist.cli.ui.model import Figures
from kist.cli.ui.plots import plots

MODES = ("Plots", "Log", "Processes", "Details")
PLOTS, LOG, PROCESSES, DETAILS = range(4)
LINES = 5000  # of a log that can be scrolled back to
_TAB = 2  # cells around a tab's word
_json = JSONHighlighter()


class Pane(ScrollView, can_focus=False):
    """The first line is the head with the tabs; below it text that scrolls, or the plots, which fill the place."""

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, mode: int) -> None:
            super().__init__()
            self.mode = mode

    def __init__(self) -> None:
        super().__init__()
        self.mode = PLOTS
        self.title = ""
        self.history: Sequence[Figures] = ()
        self.text: deque[str] = deque(maxlen=LINES)  # with SGR sequences at most
        self.grep = ""
        self.following = True
        self.wraps = True  # a log's long lines go on below themselves
        self._shown: list[str] = []
        self._widths: list[int] = []  # cells of each line that is shown
        self._rows: list[tuple[int, int]] = []  # what each row shows: line, and from which cell on
        self._plots: list[Strip] = []
        self._made: tuple[tuple[str, int, str, Look], Strip] | None = None

    @property
    def cells(self) -> int:
        """The width that the scroll bar leaves."""
        return self.scrollable_content_region.width

    def on_resize(self) -> None:
        self._arrange()

    def show_history(self, title: str, history: Sequence[Figures]) -> None:
        """Whose pane it is, and what the plots show."""
        self.title, self.history = title, history
        self._arrange()

    def clear(self) -> None:
        """Forget the text, for that of another container or mode."""
        self.text.clear()
        self._shown, self._widths, self.following = [], [], True
        self.scroll_to(0, 0, animate=False, force=True)
        self._arrange()

    def add(self, lines: list[str]) -> None:
        """More lines of a log; the end stays in sight while one has not scrolled away from it."""
        self.text.extend(lines)
        more = self._matching(lines)
        self._shown = [*self._shown, *more][-LINES:]
        self._widths = [*self._widths, *map(_cells, more)][-LINES:]
        self._arrange()

    def replace(self, lines: list[str]) -> None:
        """All lines anew; the place stays."""
        self.text = deque(lines, maxlen=LINES)
        self._take(self._matching(lines))

    def search(self, wanted: str) -> None:
        """Show only lines that have this in them."""
        self.grep = wanted.lower()
        self._take(self._matching(list(self.text)))

    def _matching(self, lines: list[str]) -> list[str]:
        return [line for line in lines if self.grep in words.plain(line).lower()] if self.grep else lines

    def _take(self, lines: list[str]) -> None:
        self._shown, self._widths = lines, list(map(_cells, lines))
        self._arrange()

    def wrap(self) -> None:
        """Wrap long lines, or no longer: then one looks at them sideways."""
        self.wraps = not self.wraps
        self._arrange()

    @property
    def _wrapping(self) -> bool:
        return self.wraps and self.mode == LOG

    def _arrange(self) -> None:
        if self.mode == PLOTS:
            self.virtual_size = self.size
            self._plots = plots(self.history, look_of(self), self.cells, max(0, self.size.height - 1))
        else:
            self._rows = _rows(self._widths, self.cells if self._wrapping else 0)
            wide = self.cells if self._wrapping else max(self.cells, *self._widths, 0)
            self.virtual_size = Size(wide, len(self._rows) + 1)
            if self.mode == LOG and self.following:
                self.scroll_to(y=len(self._rows) + 1 - self.size.height, animate=False, force=True)
        self.refresh()

    def scroll_by(self, lines: int, cells: int = 0) -> None:
        """Scroll; at its end a log is followed again."""
        last = max(0, len(self._rows) + 1 - self.size.height)
        y = max(0, min(last, self.scroll_offset.y + lines))
        self.following = y >= last
        self.scroll_to(max(0, self.scroll_offset.x + cells), y, animate=False, force=True)

    def on_mouse_scroll_up(self) -> None:
        self.following = False

    def on_click(self, event: Click) -> None:
        if event.y:
            return
        x = 1
        for mode, word in enumerate(MODES):
            x += len(word) + _TAB + 2
            if event.x < x:
                self.post_message(self.Chosen(mode))
                return

    def render_line(self, y: int) -> Strip:
        return self._line(y, look_of(self), self.cells).apply_style(self.rich_style)

    def _line(self, y: int, look: Look, width: int) -> Strip:
        if y == 0:
            return self._head(look)
        if self.mode == PLOTS:
            return self._plots[y - 1] if y <= len(self._plots) else Strip.blank(width)
        row = self.scroll_offset.y + y - 1
        if row >= len(self._rows):
            told = " nothing written" * (row == 0 and self.mode == LOG and not self.grep)
            return Strip([Segment(told, look.dim)]).adjust_cell_length(width)
        line, start = self._rows[row]
        left = start or self.scroll_offset.x
        return self._whole(self._shown[line], look).crop(left, left + width).adjust_cell_length(width)

    def _whole(self, line: str, look: Look) -> Strip:
        """A line as it is; one that takes many rows is made once for all of them."""
        key = (line, self.mode, self.grep, look)
        if self._made is None or self._made[0] != key:
            self._made = key, Strip(self._styled(line, look).render(self.app.console))
        return self._made[1]

    def _styled(self, line: str, look: Look) -> Text:
        text = Text.from_ansi(line, no_wrap=True, end="")
        if self.mode == DETAILS and look.palette is not None:
            _json.highlight(text)
        if self.grep:
            text.highlight_words([self.grep], look.sorted, case_sensitive=False)
        return text

    def _head(self, look: Look) -> Strip:
        segments = [Segment(" ", look.bar)]
        for mode, word in enumerate(MODES):
            here = mode == self.mode
            segments.append(Segment(f" {mode + 1} {word} ", look.sorted if here else look.bar_dim))
        told = self.title + (f" · only “{self.grep}”" if self.grep and self.mode != PLOTS else "")
        if self.mode == LOG and not self.following:
            told += " · scrolled back, End to follow"
        return Strip([*segments, Segment(f"  {told}", look.bar_bold)]).adjust_cell_length(self.cells, look.bar)


def _cells(line: str) -> int:
    return cell_len(words.plain(line))


def _rows(widths: Sequence[int], width: int) -> list[tuple[int, int]]:
    """(line, first cell) of each row when lines are broken at `width`; 0: they aren't."""
    if width <= 0:
        return [(line, 0) for line in range(len(widths))]
    return [(line, start) for line, cells in enumerate(widths) for start in range(0, max(cells, 1), width)]


def process_lines(found: dict[str, Any]) -> list[str]:
    """The answer to `top` as a table."""
    lines = [found.get("Titles") or [], *(found.get("Processes") or [])]
    cells = [[words.plain(str(cell)).replace("\t", " ") for cell in line] for line in lines]
    return table(["\t".join(line) for line in cells], least=6, padding=2).splitlines()


def detail_lines(found: dict[str, Any]) -> list[str]:
    """The answer to `inspect`."""
    return json.dumps(found, indent=2).splitlines()
