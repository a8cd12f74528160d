"""The bottom bar: the function keys, as they are in htop. A click is a key."""

from __future__ import annotations

from rich.segment import Segment
from textual.events import Click
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from kist.cli.ui.look import look_of

# (key, word, the word while the container under the cursor doesn't run / is paused, action of the app)
KEYS = (
    ("F1", "Help", "help"), ("F2", "Shell", "shell"), ("F3", "Log", "log"), ("F4", "Filter", "filter"),
    ("F5", "Tree", "tree"), ("F6", "Sort", "sort"), ("F7", "Stop", "start_stop"), ("F8", "Pause", "pause"),
    ("F9", "Kill", "kill"), ("F10", "Quit", "quit"),
)
OTHERWISE = {("F7", "stopped"): "Start", ("F8", "paused"): "Resume", ("F5", "tree"): "List"}


class Bar(Widget):
    """One line."""

    class Pressed(Message):
        """A key of it was clicked."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def __init__(self) -> None:
        super().__init__()
        self.states: frozenset[str] = frozenset()

    def show(self, *states: str) -> None:
        """What is so now: "stopped", "paused", "tree"."""
        if self.states != frozenset(states):
            self.states = frozenset(states)
            self.refresh()

    def _cells(self) -> list[tuple[str, str, str]]:
        """(key, word as wide as it is shown, action)"""
        width = max(5, min(9, self.size.width // len(KEYS) - 2))
        cells = []
        for key, word, action in KEYS:
            word = next((OTHERWISE[key, state] for state in self.states if (key, state) in OTHERWISE), word)
            cells.append((key, word[:width].ljust(width), action))
        return cells

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        segments = []
        for key, word, _ in self._cells():
            segments += [Segment(key, look.key), Segment(word, look.label)]
        return Strip(segments).adjust_cell_length(self.size.width, look.label).apply_style(self.rich_style)

    def on_click(self, event: Click) -> None:
        x = event.x
        for key, word, action in self._cells():
            x -= len(key) + len(word)
            if x < 0:
                self.post_message(self.Pressed(action))
                return
