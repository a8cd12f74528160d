"""The list of containers: one line each, drawn line by line, so that a change costs only the lines it touches."""

from __future__ import annotations

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from kist.cli.ui.columns import ICONS, Column, fitting
from kist.cli.ui.look import Look, look_of
from kist.cli.ui.model import Group, Line, Row, View
from kist.cli.ui.words import fit

MARGIN = 2  # the state's sign and a blank


class Table(ScrollView, can_focus=True):
    """The first line is the head. The cursor is on a container, not on a place: it moves along with it."""

    class Moved(Message):
        """The cursor is on another line."""

    class Sorted(Message):
        """The head of a column was clicked."""

        def __init__(self, sort: str) -> None:
            super().__init__()
            self.sort = sort

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.view = View()
        self.tagged: set[str] = set()
        self.cursor = ""  # the key of its line
        self.stale = False
        self._at = 0
        self._moved = False  # until somebody does, the cursor stays on the first line

    @property
    def line(self) -> Line | None:
        """The line under the cursor."""
        return self.lines[self._at] if self.lines else None

    def show(self, lines: list[Line], view: View, *, stale: bool) -> None:
        """Draw these lines."""
        self.lines, self.view, self.stale = lines, view, stale
        self.virtual_size = Size(self.cells, len(lines) + 1)
        at = next((index for index, line in enumerate(lines) if line.key == self.cursor), None) if self._moved else 0
        self.move_to(min(self._at, len(lines) - 1) if at is None else at)
        self.refresh()

    def move_to(self, index: int) -> None:
        """Put the cursor on a line, and that into sight."""
        self._at = max(0, min(index, len(self.lines) - 1))
        cursor = self.lines[self._at].key if self.lines else ""
        rows = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self._at < top or self._at >= top + rows:
            self.scroll_to(y=self._at if self._at < top else self._at - rows + 1, animate=False, force=True)
        if cursor != self.cursor:
            self.cursor = cursor
            self.refresh()
            self.post_message(self.Moved())

    def pin(self) -> None:
        """The user has to do with the container under the cursor: it stays there."""
        self._moved = True

    def move(self, by: int) -> None:
        """What the user does."""
        self.pin()
        self.move_to(self._at + by)

    @property
    def cells(self) -> int:
        """The width that the scroll bar leaves."""
        return self.scrollable_content_region.width

    @property
    def page(self) -> int:
        return max(1, self.size.height - 2)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.cells, len(self.lines) + 1)
        self.move_to(self._at)

    def on_click(self, event: Click) -> None:
        if event.y == 0:
            x = event.x - MARGIN
            for column, width in self._columns():
                if x < width:
                    self.post_message(self.Sorted(column.sort))
                    return
                x -= width
        elif self.scroll_offset.y + event.y - 1 < len(self.lines):
            self.move(self.scroll_offset.y + event.y - 1 - self._at)

    def _columns(self) -> list[tuple[Column, int]]:
        return fitting(self.cells - MARGIN)

    def render_line(self, y: int) -> Strip:
        return self._line(y, look_of(self)).apply_style(self.rich_style)

    def _line(self, y: int, look: Look) -> Strip:
        if y == 0:
            return self._head(look)
        index = self.scroll_offset.y + y - 1
        if index >= len(self.lines):
            return Strip.blank(self.cells)
        line, chosen = self.lines[index], index == self._at
        over = look.select if chosen and not self.stale else look.bar_dim if chosen else None
        segments = self._group(line.group, look) if line.group else self._row(line, look)
        if over is not None:
            segments = [Segment(segment.text, over) for segment in segments]
        elif self.stale:
            segments = [Segment(segment.text, look.faint) for segment in segments]
        return Strip(segments).adjust_cell_length(self.cells, over)

    def _head(self, look: Look) -> Strip:
        segments = [Segment(" " * MARGIN, look.bar)]
        for column, width in self._columns():
            mine = column.sort == self.view.sort and column.title.strip() not in ("TREND", "ID", "PORTS")
            title = fit(column.title, width) if column.left else column.title.rjust(width)
            segments.append(Segment(title, look.sorted if mine else look.bar))
        return Strip(segments).adjust_cell_length(self.cells, look.bar)

    def _row(self, line: Line, look: Look) -> list[Segment]:
        row = line.row
        assert row is not None
        icon, icon_style = ICONS.get(row.state, ("?", "dim"))
        tagged = row.id in self.tagged
        segments = [Segment(f"{'▌' if tagged else icon} ", look.tag if tagged else getattr(look, icon_style))]
        for place, (column, width) in enumerate(self._columns()):
            style: Style = getattr(look, column.style(row))
            segments.append(Segment(self._cell(column, width, row, line.branch if place == 0 else ""),
                                    look.tag if tagged and place == 0 else style))
        return segments

    @staticmethod
    def _cell(column: Column, width: int, row: Row, branch: str) -> str:
        text = branch + column.text(row)
        if column.left:
            return set_cell_size(text[:width], width) if len(text) <= width else fit(text, width)
        return text.rjust(width)[-width:]

    def _group(self, group: Group, look: Look) -> list[Segment]:
        sign = "▸" if group.folded else "▾"
        name = f"{group.name or 'no project'} ({group.rows})"
        segments = [Segment(f"{sign} ", look.accent)]
        for place, (column, width) in enumerate(self._columns()):
            text = set_cell_size(name, width) if place == 0 else column.total(group.now).rjust(width)
            segments.append(Segment(text, look.title if place == 0 else look.bold))
        return segments
