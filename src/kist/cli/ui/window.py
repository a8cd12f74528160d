"""The window: its parts, what comes in from the feed and the follower, and what the parts are told to show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App, ComposeResult
from textual.events import Resize
from textual.message import Message
from textual.widgets import Input

from kist.cli.commands.ps import ports_text
from kist.cli.ui import actions, look, pane
from kist.cli.ui.bar import Bar
from kist.cli.ui.feed import Feed, Lost, News
from kist.cli.ui.follow import Follower
from kist.cli.ui.head import Head
from kist.cli.ui.model import Model, Row, View
from kist.cli.ui.pane import Pane
from kist.cli.ui.table import Table
from kist.client.client import Client
from kist.errors import KistError

SHORT = 17  # lines of the screen below which the pane gives its place to the list
TINY = 10  # and below which the head is one line
REFRESH = 2.0  # seconds between two looks at a container's processes


class Told(Message):
    """The feed has something."""

    def __init__(self, news: News | Lost) -> None:
        super().__init__()
        self.news = news


class Logged(Message):
    """The follower has lines."""

    def __init__(self, container: str, lines: list[str]) -> None:
        super().__init__()
        self.container, self.lines = container, lines


class Window(App[None]):
    """What `kist ui` shows; `UI` is this with keys."""

    CSS = look.CSS
    TITLE = "kist ui"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, client: Client, *, place: str, theme: str, interval: float = 1.0, wanted: str = "",
                 shell: Callable[[str], list[str]] | None = None) -> None:
        super().__init__(ansi_color=True if theme == look.PLAIN else None)
        for made in look.THEMES:
            self.register_theme(made)
        self.theme = theme
        self.client, self.shell_command = client, shell
        self.model, self.look_at = Model(), View(filter=wanted)
        self.info: dict[str, Any] = {}
        self.lost = ""
        self.feed = Feed(client, self._tell, interval)
        self.follower: Follower | None = None
        self.head, self.table, self.pane, self.bar = Head(self.model, place), Table(), Pane(), Bar()
        self.line = Input(placeholder="words that a line must have; Enter, or Esc for none", id="filter",
                          compact=True, select_on_focus=False)

    def compose(self) -> ComposeResult:
        yield from (self.head, self.table, self.pane, self.bar, self.line)

    def on_mount(self) -> None:
        self.filtering(on=False)
        self.feed.start()
        self.set_interval(REFRESH, self._look_again)

    def on_unmount(self) -> None:
        self._unfollow()
        self.feed.stop()

    def on_resize(self, event: Resize) -> None:
        self.pane.set_class(event.size.height < SHORT, "hidden")
        self.head.set_class(event.size.height < TINY, "small")

    # What comes in; the first two are called in other threads

    def _tell(self, news: News | Lost) -> None:
        self.post_message(Told(news))

    def _tell_lines(self, container: str, lines: list[str]) -> None:
        self.post_message(Logged(container, lines))

    def on_told(self, message: Told) -> None:
        news = message.news
        if isinstance(news, Lost):
            self.lost = news.reason or "no answer"
        else:
            self.lost, self.info = "", news.info
            self.model.listed(news.listed, ports_text)
            if news.samples is not None:
                self.model.sampled(news.samples, news.at)
            self.table.tagged &= self.model.rows.keys()
            if self.follower is not None and self.follower.done and self.row is not None and self.row.live:
                self.load()  # it runs again
        self.redraw()

    def on_logged(self, message: Logged) -> None:
        if self.follower is not None and message.container == self.follower.container:
            self.pane.add(message.lines)

    def redraw(self) -> None:
        """Show what is known."""
        self.table.show(self.model.lines(self.look_at), self.look_at, stale=bool(self.lost))
        self.head.show(self.info, self.lost)
        row = self.row
        if row is None:
            self.pane.show_history("all containers", list(self.model.totals))
        else:
            self.pane.show_history(row.name, list(row.history))
        self.bar.show(*["stopped"] * (row is not None and row.state in actions.STOPPED),
                      *["paused"] * (row is not None and row.state == "paused"), *["tree"] * self.look_at.tree)

    # The container under the cursor, and those that an action is for

    @property
    def row(self) -> Row | None:
        return self.table.line.row if self.table.line else None

    @property
    def chosen(self) -> list[Row]:
        """The tagged ones, else the one under the cursor, else all of the group there."""
        if self.table.tagged:
            return [row for row in self.model.rows.values() if row.id in self.table.tagged]
        line = self.table.line
        if line is None:
            return []
        if line.row is not None:
            return [line.row]
        return [row for row in self.model.rows.values() if line.group and row.group == line.group.name]

    @property
    def zoomed(self) -> bool:
        return self.screen.has_class("zoomed")

    # The text of the pane

    def load(self) -> None:
        """Get the pane's text for the container under the cursor."""
        self._unfollow()
        self.pane.clear()
        row = self.row
        if row is None or self.pane.mode == pane.PLOTS:
            return
        if self.pane.mode == pane.LOG:
            self.follower = Follower(self.client, row.id, self._tell_lines)
            self.follower.start()
        else:
            self._look_again()

    def _unfollow(self) -> None:
        if self.follower is not None:
            self.follower.stop()
            self.follower = None

    def _look_again(self) -> None:
        """Ask for what no stream tells: processes and details."""
        row = self.row
        if row is not None and not self.lost and self.pane.mode in (pane.PROCESSES, pane.DETAILS):
            self.run_worker(partial(self._text, row.id, self.pane.mode), thread=True, group="text", exclusive=True)

    def _text(self, container: str, mode: int) -> None:
        """In a thread."""
        try:
            if mode == pane.PROCESSES:
                lines = pane.process_lines(self.client.containers.top(container, "-o pid,user,time,pcpu,args"))
            else:
                lines = pane.detail_lines(self.client.containers.inspect(container))
        except (KistError, OSError) as error:
            lines = [str(error)]
        self.call_from_thread(self._take_text, container, mode, lines)

    def _take_text(self, container: str, mode: int, lines: list[str]) -> None:
        if self.row is not None and self.row.id == container and self.pane.mode == mode:
            self.pane.replace(lines)

    def filtering(self, *, on: bool) -> None:
        """The line takes the bar's place. At once: what is typed behind the key belongs to it."""
        self.bar.display, self.line.display = not on, on
        if on:
            self.line.value = self.pane.grep if self.zoomed else self.look_at.filter
        self.screen.set_focus(self.line if on else self.table)
