"""The keys, and what each of them does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from functools import partial

from textual.app import SuspendNotSupported
from textual.binding import Binding
from textual.widgets import Input
from textual.worker import Worker, WorkerState

from kist.cli.ui import actions, look, pane
from kist.cli.ui.bar import Bar
from kist.cli.ui.dialogs import Confirm, Help, Menu
from kist.cli.ui.model import SORTS, Row
from kist.cli.ui.pane import Pane
from kist.cli.ui.table import Table
from kist.cli.ui.window import Window
from kist.errors import KistError


def _keys(table: str) -> list[Binding | tuple[str, str] | tuple[str, str, str]]:
    """`"f7,s start_stop"` a line."""
    return [Binding(keys, action) for keys, action in (line.split() for line in table.strip().splitlines())]


class UI(Window):
    """`kist ui`."""

    BINDINGS = _keys("""
        f1,question_mark,h help
        f2,e shell
        f3,l log
        i details
        f4,slash,backslash filter
        f5,t tree
        f6 sort
        less_than_sign,comma sort_by(-1)
        greater_than_sign,full_stop sort_by(1)
        P sort_to('cpu')
        M sort_to('memory')
        N sort_to('network')
        O sort_to('block')
        T sort_to('created')
        I turn
        f7,s start_stop
        r act('restart')
        f8,p pause
        f9,k kill
        d,delete act('remove')
        f10,q,ctrl+c quit
        a all
        D theme
        plus,equals_sign fold(False)
        minus fold(True)
        space tag
        U untag
        w wrap
        enter zoom
        escape leave
        tab,shift+tab next_mode
        1 mode(0)
        2 mode(1)
        3 mode(2)
        4 mode(3)
        up move(-1)
        down move(1)
        pageup page(-1)
        pagedown page(1)
        home end(-1)
        end end(1)
        left sideways(-8)
        right sideways(8)
    """)

    def on_table_moved(self) -> None:
        self.load()
        self.redraw()

    def on_table_sorted(self, message: Table.Sorted) -> None:
        if message.sort == self.look_at.sort:
            self.action_turn()
        else:
            self.action_sort_to(message.sort)

    # Moving

    def action_move(self, by: int) -> None:
        self.pane.scroll_by(by) if self.zoomed else self.table.move(by)

    def action_page(self, by: int) -> None:
        self.pane.scroll_by(by * (self.pane.size.height - 2)) if self.zoomed else self.table.move(by * self.table.page)

    def action_end(self, to: int) -> None:
        far = to * (1 << 30)
        self.pane.scroll_by(far) if self.zoomed or (self.pane.mode == pane.LOG and to > 0) else self.table.move(far)

    def action_sideways(self, by: int) -> None:
        self.pane.scroll_by(0, by)

    # The pane

    def action_mode(self, mode: int) -> None:
        self.table.pin()
        if mode != self.pane.mode:
            self.pane.mode = mode
            self.pane.grep = ""
            self.load()
            self.redraw()

    def action_next_mode(self) -> None:
        self.action_mode((self.pane.mode + 1) % len(pane.MODES))

    def on_pane_chosen(self, message: Pane.Chosen) -> None:
        self.action_mode(message.mode)

    def action_wrap(self) -> None:
        self.pane.wrap()

    def action_zoom(self) -> None:
        self.screen.toggle_class("zoomed")

    def action_log(self) -> None:
        self._zoom_to(pane.LOG)

    def action_details(self) -> None:
        self._zoom_to(pane.DETAILS)

    def _zoom_to(self, mode: int) -> None:
        self.action_mode(mode)
        self.screen.add_class("zoomed")

    # Order and filter

    def action_sort(self) -> None:
        choices = [(name, title) for name, (title, _, _) in SORTS.items()]
        self.push_screen(Menu("Sort by", choices, self.look_at.sort), lambda name: self.action_sort_to(name or ""))

    def action_sort_to(self, name: str) -> None:
        if name:
            self.look_at.sort, self.look_at.turned = name, False
            self.redraw()

    def action_sort_by(self, step: int) -> None:
        names = list(SORTS)
        self.action_sort_to(names[(names.index(self.look_at.sort) + step) % len(names)])

    def action_turn(self) -> None:
        self.look_at.turned = not self.look_at.turned
        self.redraw()

    def action_tree(self) -> None:
        self.look_at.tree = not self.look_at.tree
        self.redraw()

    def action_fold(self, folded: bool) -> None:
        line = self.table.line
        if line is None or not self.look_at.tree:
            return
        name = line.group.name if line.group else line.row.group if line.row else ""
        (self.look_at.folded.add if folded else self.look_at.folded.discard)(name)
        if folded:
            self.table.cursor = f"group:{name}"
        self.redraw()

    def action_all(self) -> None:
        self.look_at.all = not self.look_at.all
        self.redraw()

    def action_theme(self) -> None:
        if self.theme != look.PLAIN:
            self.theme = "kist-light" if self.theme == "kist-dark" else "kist-dark"
            self.redraw()

    def action_filter(self) -> None:
        self.filtering(on=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        if not self.line.display:
            return
        if self.zoomed:
            self.pane.search(event.value)
        else:
            self.look_at.filter = event.value
            self.redraw()

    def on_input_submitted(self) -> None:
        self.filtering(on=False)

    def action_leave(self) -> None:
        """Out of the innermost thing that one is in."""
        if self.line.display:
            self.line.value = ""
            if self.zoomed:
                self.pane.search("")
            else:
                self.look_at.filter = ""
            self.filtering(on=False)
        elif self.zoomed:
            self.screen.remove_class("zoomed")
            self.pane.search("")
        elif self.table.tagged:
            self.table.tagged.clear()
        else:
            self.look_at.filter = ""
        self.redraw()

    def action_tag(self) -> None:
        if self.row is not None and not self.zoomed:
            self.table.tagged ^= {self.row.id}
            self.table.move(1)
            self.table.refresh()

    def action_untag(self) -> None:
        self.table.tagged.clear()
        self.table.refresh()

    # Doing

    def action_start_stop(self) -> None:
        rows = self.chosen
        self.action_act("start" if rows and all(row.state in actions.STOPPED for row in rows) else "stop")

    def action_pause(self) -> None:
        rows = self.chosen
        self.action_act("unpause" if rows and all(row.state == "paused" for row in rows) else "pause")

    def action_kill(self) -> None:
        rows = self._able("kill")
        if rows:
            self.push_screen(Menu("Send signal", actions.SIGNALS),
                             lambda name: self._do(actions.ACTIONS["kill"], rows, name) if name else None)

    def _able(self, name: str) -> list[Row]:
        """Those of the chosen ones whose state allows it; says so when there are none."""
        action = actions.ACTIONS[name]
        self.table.pin()
        rows = [row for row in self.chosen if not action.states or row.state in action.states]
        if not rows:
            self.notify(f"nothing to {name} here", timeout=3)
        return rows

    def action_act(self, name: str) -> None:
        action, rows = actions.ACTIONS[name], self._able(name)
        if not rows:
            return
        if name in actions.ASKED:
            self.push_screen(Confirm(_question(name, rows)),
                             lambda yes: self._do(action, rows) if yes else None)
        else:
            self._do(action, rows)

    def _do(self, action: actions.Action, rows: Iterable[Row], signal: str = "") -> None:
        for row in rows:
            row.asked = action.doing
            self.run_worker(partial(self._ask, action, row, signal), thread=True, exit_on_error=False)
        self.table.tagged.clear()
        self.redraw()

    def _ask(self, action: actions.Action, row: Row, signal: str) -> None:
        """In a thread."""
        try:
            action.do(self.client, row.id, signal)
        except (KistError, OSError) as error:
            self.notify(str(error), title=f"{action.name} {row.name}", severity="error", markup=False)
        finally:
            row.asked = ""

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state in (WorkerState.SUCCESS, WorkerState.ERROR) and event.worker.group != "text":
            self.feed.wake()

    def action_shell(self) -> None:
        """A shell in the container, on this terminal; this program waits meanwhile."""
        self.table.pin()
        row = self.row
        if row is None or self.shell_command is None or row.state != "running":
            self.notify("a shell wants a container that runs", timeout=3)
            return
        try:
            with self.suspend():
                print(f"kist ui: a shell in {row.name}; exit or Ctrl-D leads back", flush=True)
                status = subprocess.run(self.shell_command(row.id), check=False).returncode
        except SuspendNotSupported:
            self.notify("this terminal can't be handed over", severity="error")
            return
        if status in (126, 127):
            self.notify(f"{row.name} has no shell", severity="error")
        self.refresh(layout=True)

    def action_help(self) -> None:
        self.push_screen(Help())

    async def on_bar_pressed(self, message: Bar.Pressed) -> None:
        await self.run_action(message.action)


def _question(name: str, rows: list[Row]) -> str:
    verb = name.capitalize()
    if len(rows) > 1:
        return f"{verb} {len(rows)} containers?\n{', '.join(row.name for row in rows[:5])}{'…' * (len(rows) > 5)}"
    still = " (it is running)" if name == "remove" and rows[0].live else ""
    return f"{verb} {rows[0].name}{still}?"
