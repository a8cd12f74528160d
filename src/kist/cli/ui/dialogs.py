"""What is asked in between: yes or no, one of several, and the help."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

HELP = (
    ("Move", (("↑ ↓ PgUp PgDn Home End", "through the list, or a large pane"),
              ("Enter", "the pane fills the screen, and back"),
              ("Tab  1 2 3 4", "the pane: plots, log, processes, details"),
              ("w  ← →", "wrap a log's long lines, or go sideways"))),
    ("See", (("F3 l", "the log, following"), ("i", "details (inspect)"), ("F4 /", "filter the list, or a large pane"),
             ("F6 < >", "sort; P cpu M memory N net O disk T age"), ("I", "turn the order round"),
             ("F5 t  + -", "tree of projects; unfold, fold"), ("a", "all containers, or only live ones"),
             ("D", "dark or light"))),
    ("Do", (("F7 s", "start, or stop"), ("r", "restart"), ("F8 p", "pause, or resume"), ("F9 k", "send a signal"),
            ("d Del", "remove"), ("F2 e", "a shell in it (exec)"),
            ("Space  U", "tag for the next deed, untag all"))),
    ("Leave", (("F10 q", "quit"), ("Esc", "out of the pane, the filter, the tags"))),
)


class Confirm(ModalScreen[bool]):
    """A question; Enter or y is yes."""

    BINDINGS = [("y,enter", "dismiss(True)", "Yes"), ("n,escape,q", "dismiss(False)", "No")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Sure?"
            yield Static(Text.assemble(self.question, "\n\n", ("y", "bold underline"), "es   ", ("n", "bold underline"),
                                       "o"))


class Menu(ModalScreen[str]):
    """One of several; "" when it was left."""

    BINDINGS = [("escape,q", "dismiss('')", "Leave")]

    def __init__(self, title: str, choices: Sequence[tuple[str, str]], at: str = "") -> None:
        super().__init__()
        self.title_text, self.choices, self.at = title, choices, at

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self.title_text
            options = OptionList(*[Option(text, id=name) for name, text in self.choices], markup=False)
            options.highlighted = next((n for n, (name, _) in enumerate(self.choices) if name == self.at), 0)
            yield options

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id or "")


class Help(ModalScreen[None]):
    """All keys."""

    BINDINGS = [("escape,q,f1,question_mark,enter,f10", "dismiss", "Leave")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog text") as box:
            box.border_title = "kist ui"
            lines = []
            for title, keys in HELP:
                lines += [Text.assemble((f"{title if n == 0 else '':7}", "dim"), (f"{key:24}", "bold"), told)
                          for n, (key, told) in enumerate(keys)]
            yield Static(Text("\n").join(lines))
