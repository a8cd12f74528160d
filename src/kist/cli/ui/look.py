"""Colours: a dark and a light theme, and one without any colour. Styles are made once, by name."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from textual.theme import Theme
from textual.widget import Widget


@dataclass(frozen=True)
class Palette:
    """The colours of a theme."""

    back: str
    raised: str
    bar: str
    text: str
    dim: str
    faint: str
    accent: str
    on_accent: str
    good: str
    warn: str
    bad: str
    memory: str
    network: str
    block: str


DARK = Palette(back="#10141b", raised="#161c26", bar="#212a38", text="#d7dde8", dim="#8491a5", faint="#4a566a",
               accent="#4fb0ff", on_accent="#08121d", good="#5fd38d", warn="#f0c04d", bad="#f2667a", memory="#b493f5",
               network="#4fd1c5", block="#f0a35e")
LIGHT = Palette(back="#fafbfc", raised="#f0f2f6", bar="#dfe4ec", text="#1e2530", dim="#5e6a7d", faint="#a9b3c2",
                accent="#0b63c5", on_accent="#ffffff", good="#18803f", warn="#9a6200", bad="#c22a40", memory="#6f3fc0",
                network="#067a72", block="#b3540e")


class Look:
    """Rich styles for what the widgets draw."""

    def __init__(self, palette: Palette | None) -> None:
        def style(color: str, back: str = "", *, bold: bool = False, dim: bool = False,
                  reverse: bool = False) -> Style:
            if palette is None:  # no colour: weight and reverse have to do
                return Style(bold=bold, dim=dim, reverse=reverse)
            return Style(color=getattr(palette, color), bgcolor=getattr(palette, back) if back else None, bold=bold)

        self.palette = palette
        self.text, self.bold = style("text"), style("text", bold=True)
        self.dim, self.faint = style("dim", dim=True), style("faint", dim=True)
        self.accent, self.title = style("accent"), style("accent", bold=True)
        self.good, self.warn = style("good"), style("warn")
        self.bad, self.tag = style("bad", bold=True), style("warn", bold=True)
        self.cpu, self.memory = style("good"), style("memory")
        self.network, self.block = style("network"), style("block")
        self.bar, self.bar_dim = style("text", "bar", reverse=True), style("dim", "bar", reverse=True)
        self.bar_bold, self.bar_bad = style("text", "bar", bold=True, reverse=True), style("bad", "bar", reverse=True)
        self.sorted = style("on_accent", "accent", bold=True, reverse=True)
        self.select = style("on_accent", "accent", reverse=True)
        self.key, self.label = style("text", "back", bold=True), style("on_accent", "accent", reverse=True)


def _theme(name: str, palette: Palette, *, dark: bool) -> Theme:
    return Theme(name=name, primary=palette.accent, secondary=palette.memory, accent=palette.accent,
                 warning=palette.warn, error=palette.bad, success=palette.good, foreground=palette.text,
                 background=palette.back, surface=palette.raised, panel=palette.bar, dark=dark)


THEMES = (_theme("kist-dark", DARK, dark=True), _theme("kist-light", LIGHT, dark=False))
PLAIN = "ansi-dark"  # Textual's own theme of the terminal's colours: with NO_COLOR it draws none at all
LOOKS = {"kist-dark": Look(DARK), "kist-light": Look(LIGHT), PLAIN: Look(None)}


def look_of(widget: Widget) -> Look:
    """The styles of the present theme."""
    return LOOKS[widget.app.theme]


def is_light(colorfgbg: str) -> bool:
    """Whether the terminal says that its background is light: `COLORFGBG=0;15` (rxvt, konsole, iTerm)."""
    return colorfgbg.rpartition(";")[2] in ("7", "15")


CSS = """
Screen { layout: vertical; background: $background; color: $foreground; }
Head { height: 4; background: $surface; }
Head.small { height: 1; }
Table { height: 1fr; background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
Pane { height: 40%; min-height: 9; background: $surface; scrollbar-size-vertical: 1; overflow-x: hidden; }
Pane.hidden { display: none; }
.zoomed Table { display: none; }
.zoomed Pane { height: 1fr; display: block; }
Table, Pane, OptionList, VerticalScroll { scrollbar-color: $primary 40%; scrollbar-background: $surface; }
Bar { height: 1; background: $background; }
#filter { height: 1; border: none; padding: 0 1; background: $panel; color: $foreground; }
#filter:focus { border: none; }
ModalScreen { align: center middle; background: $background 60%; }
.dialog { width: auto; min-width: 34; max-width: 76; height: auto; max-height: 90%; padding: 1 2;
          background: $panel; border: round $primary; border-title-color: $primary; border-title-style: bold; }
.dialog OptionList { width: 30; height: auto; max-height: 14; border: none; background: $panel; padding: 0; }
.dialog OptionList:focus { background-tint: $panel 0%; }
.dialog.text { width: 76; padding: 0 1; overflow-y: auto; scrollbar-size-vertical: 1; }
Toast { background: $panel; }
"""
