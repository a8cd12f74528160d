"""How figures, times and tables are shown: as Docker's command shows them.

Pure. Tables are lines with tabs; a column is as wide as its widest cell and 3 blanks, 10 at least, as Go's
tabwriter does it: a cell belongs to a column only while the lines above and below it have that column, too.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PADDING, LEAST = 3, 10


def table(lines: Sequence[str], least: int = LEAST, padding: int = PADDING) -> str:
    """Lines with tabs → aligned text."""
    rows = [line.split("\t") for line in lines]
    widths = [[0] * (len(row) - 1) for row in rows]
    for column in range(max((len(row) for row in rows), default=1) - 1):
        start = 0
        while start < len(rows):
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            if end > start:
                width = max(len(rows[at][column]) for at in range(start, end))
                for at in range(start, end):
                    widths[at][column] = max(width + padding, least) if width else least
            start = max(end, start + 1)
    return "".join("".join(cell.ljust(width) for cell, width in zip(row, wide, strict=False)) + row[-1] + "\n"
                   for row, wide in zip(rows, widths, strict=True))


def short_id(identity: str) -> str:
    """The first 12 digits, without `sha256:`."""
    return identity.partition(":")[2][:12] if ":" in identity else identity[:12]


def ellipsis(text: str, width: int) -> str:
    """At most `width` characters, the last one … when there were more."""
    if len(text) <= width:
        return text
    return text[:max(width - 1, 0)] + "…" if width > 1 else text[:width]


def human_duration(seconds: float) -> str:
    """`About a minute`, `3 hours`, `2 weeks`."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for limit, unit, name in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks"), (17520, 720, "months")):
        if hours < limit:
            return f"{hours // unit} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(stamp: float, now: float | None = None) -> str:
    """How long ago a time (Unix seconds) was."""
    return human_duration((time.time() if now is None else now) - stamp) + " ago"


def human_size(size: float, digits: int = 3) -> str:
    """Decimal units, so many digits: `4.27MB`."""
    return _scaled(size, 1000.0, ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"), digits)


def binary_size(size: float, digits: int = 4) -> str:
    """Binary units: `1.5MiB`."""
    return _scaled(size, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"), digits)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    at = 0
    while size >= base and at < len(units) - 1:
        size /= base
        at += 1
    return f"{size:.{digits}g}{units[at]}".replace("e+03", "000") if size < 10 ** digits else f"{size:.0f}{units[at]}"


def local_time(stamp: float) -> str:
    """`2026-11-23 14:02:11 +0100 CET`"""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(stamp))


def parse_time(text: str) -> float:
    """Unix seconds of `2026-11-23T14:02:11.123456789Z`; 0 for Go's zero time and for nonsense."""
    from datetime import datetime

    if not text or text.startswith("0001-"):
        return 0.0
    whole, mark, rest = text.partition(".")
    fraction = 0.0
    if mark:
        digits = rest[:len(rest) - len(rest.lstrip("0123456789"))]
        fraction, whole = float(f"0.{digits or 0}"), whole + rest[len(digits):]
    try:
        return datetime.fromisoformat(whole.replace("Z", "+00:00")).timestamp() + fraction
    except ValueError:
        return 0.0


def go_time(text: str) -> str:
    """`2026-11-23T14:02:11.5Z` → `2026-11-23 14:02:11.5 +0000 UTC`, as Go's Time.String prints it."""
    day, mark, clock = text.partition("T")
    if not mark:
        return text
    if clock.endswith("Z"):
        return f"{day} {clock[:-1]} +0000 UTC"
    clock, zone = clock[:-6], clock[-6:].replace(":", "")
    return f"{day} {clock} {zone} {zone}"


def quoted(text: str) -> str:
    """In double quotes, as Go's strconv.Quote."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    escapes = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else f"\\x{ord(c):02x}") for c in plain) + '"'
