"""The columns of the list: from which width of the screen on, how wide, what they say and in which style. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from kist.cli.output import short_id
from kist.cli.ui import plot, words
from kist.cli.ui.model import Figures, Row

TREND = 10
ICONS = {"running": ("●", "good"), "paused": ("◐", "warn"), "restarting": ("↻", "warn"), "created": ("◇", "dim"),
         "exited": ("○", "dim"), "dead": ("✕", "bad"), "removing": ("✕", "warn")}


class Column(NamedTuple):
    """`width` 0: what is left, shared out with `grow`."""

    title: str
    width: int
    need: int  # cells of the screen from which on it is there
    sort: str
    text: Callable[[Row], str]
    style: Callable[[Row], str]
    total: Callable[[Figures], str] = lambda _: ""
    left: bool = False
    most: int = 0


def _grade(value: float, warn: float, bad: float) -> str:
    if value >= bad:
        return "bad"
    if value >= warn:
        return "warn"
    return "text" if value >= 0.05 else "faint"


def _figure(title: str, need: int, sort: str, get: Callable[[Figures], float],
            show: Callable[[float], str] = words.size, warn: float = 1e99, bad: float = 1e99, width: int = 6) -> Column:
    def text(row: Row) -> str:
        return show(get(row.now)) if row.live else ""

    return Column(title, width, need, sort, text, lambda row: _grade(get(row.now), warn, bad), lambda f: show(get(f)))


_SPAN = re.compile(r"(?:Less than a|About an?|(\d+)) (second|minute|hour|day|week|month|year)s?")
_UNITS = {"second": "s", "minute": "min", "hour": "h", "day": "d", "week": "w", "month": "mon", "year": "y"}


def status_text(row: Row) -> str:
    """`Up 5min (healthy)`, or what is just being done to it."""
    if row.asked:
        return f"{row.asked}…"
    text = row.status.replace(" (Paused)", "").replace(" ago", "")
    return _SPAN.sub(lambda span: f"{span[1] or int(span[2] != 'second')}{_UNITS[span[2]]}", text)


def status_style(row: Row) -> str:
    if row.asked:
        return "accent"
    if "unhealthy" in row.status or row.state == "dead":
        return "bad"
    if row.state in ("paused", "restarting"):
        return "warn"
    if row.state == "exited":
        return "dim" if row.status.startswith("Exited (0)") else "warn"
    return "text" if row.live else "dim"


def trend(row: Row) -> str:
    """The CPU's last seconds."""
    values = [figures.cpu for figures in list(row.history)[-TREND:]]
    return plot.spark(values, TREND, plot.nice(max(values, default=0.0), 10.0)) if row.live and values else ""


COLUMNS = (
    Column("NAME", 14, 0, "name", lambda r: r.name, lambda r: "bold" if r.live else "dim", left=True, most=36),
    _figure("CPU%", 0, "cpu", lambda f: f.cpu, words.percent, 50, 90),
    Column("TREND", TREND + 1, 112, "cpu", trend, lambda r: "cpu"),
    _figure("MEM", 0, "memory", lambda f: f.memory),
    _figure("MEM%", 64, "memory", lambda f: f.memory_percent, words.percent, 60, 90),
    _figure("NET↓", 52, "network", lambda f: f.received),
    _figure("NET↑", 52, "network", lambda f: f.sent),
    _figure("READ", 72, "block", lambda f: f.read),
    _figure("WRITE", 72, "block", lambda f: f.written),
    _figure("PIDS", 46, "pids", lambda f: f.pids, lambda value: f"{value:.0f}", width=5),
    Column(" STATUS", 17, 40, "state", lambda r: " " + status_text(r), status_style, left=True, most=28),
    Column(" IMAGE", 17, 106, "image", lambda r: " " + r.image, lambda r: "dim", left=True, most=34),
    Column(" ID", 13, 128, "name", lambda r: " " + short_id(r.id), lambda r: "faint", left=True),
    Column(" PORTS", 20, 148, "name", lambda r: " " + r.ports, lambda r: "dim", left=True, most=60),
)


def fitting(width: int) -> list[tuple[Column, int]]:
    """The columns for so many cells, each with its width; the first to grow is the first in the table."""
    shown = [column for column in COLUMNS if column.need <= width]
    widths = [column.width for column in shown]
    left = width - sum(widths)
    for index, column in enumerate(shown):
        more = min(left, max(0, column.most - column.width))
        if more > 0:
            widths[index] += more
            left -= more
    if left < 0:
        widths[0] = max(4, widths[0] + left)
    return list(zip(shown, widths, strict=True))
