"""Times as the API writes and reads them; inside Kist a time is an int of nanoseconds since 1970."""

from __future__ import annotations

import re
import time
from functools import lru_cache

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which clients compare with


def now() -> int:
    return time.time_ns()


@lru_cache(maxsize=256)
def _seconds_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def rfc3339(ns: int) -> str:
    """Go's RFC3339Nano: no trailing zeros in the fraction. 0 is Go's zero time."""
    if ns == 0:
        return NEVER
    seconds, fraction = divmod(ns, 1_000_000_000)
    text = _seconds_text(seconds)
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else text + "Z"


def rfc3339_fixed(ns: int) -> str:
    """Always nine digits, as `docker logs --timestamps` prints."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    return f"{_seconds_text(seconds)}.{fraction:09d}Z"


@lru_cache(maxsize=256)
def _seconds_of(text: str) -> int:
    """`2026-01-02T03:04:05` as UTC seconds; raises ValueError."""
    parts = time.strptime(text, "%Y-%m-%dT%H:%M:%S")
    return _days(parts.tm_year, parts.tm_mon, parts.tm_mday) * 86400 + parts.tm_hour * 3600 \
        + parts.tm_min * 60 + parts.tm_sec


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar."""
    year -= month <= 2
    era, yoe = divmod(year, 400)
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


def parse_rfc3339(text: str) -> int:
    """Nanoseconds; raises ValueError. Offsets other than Z are taken into account."""
    seconds, rest = _seconds_of(text[:19]), text[19:]
    fraction = 0
    if rest.startswith("."):
        digits = rest[1:].rstrip("Zz").partition("+")[0].partition("-")[0]
        fraction = int(digits[:9].ljust(9, "0"))
        rest = rest[1 + len(digits):]
    if rest in ("Z", "z"):
        return seconds * 1_000_000_000 + fraction
    sign = {"+": 1, "-": -1}.get(rest[:1])
    if sign is None or len(rest) != 6:
        raise ValueError(f"invalid time: {text!r}")
    offset = sign * (int(rest[1:3]) * 3600 + int(rest[4:6]) * 60)
    return (seconds - offset) * 1_000_000_000 + fraction


def parse_timestamp(text: str | None) -> int:
    """The API's since and until: `SECONDS[.FRACTION]` or RFC 3339; empty is 0. Raises ValueError."""
    if not text or text == "0":
        return 0
    if "T" in text:
        return parse_rfc3339(text)
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)


def stamp() -> str:
    """The present second (UTC) as a part of a name: 20260131-235959."""
    text = rfc3339(now() // 1_000_000_000 * 1_000_000_000).rstrip("Z")
    return text.replace("-", "").replace(":", "").replace("T", "-")


def human_duration(seconds: float) -> str:
    """Docker's rough words: `Less than a second`, `5 minutes`, `About an hour`, `3 weeks`."""
    whole = int(seconds)
    hours = round(seconds / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if whole < 120:
        return "About a minute"
    if whole < 3600:
        return f"{whole // 60} minutes"
    for bound, text in ((2, "About an hour"), (48, f"{hours} hours"), (24 * 14, f"{hours // 24} days"),
                        (24 * 60, f"{hours // 24 // 7} weeks"), (24 * 365 * 2, f"{hours // 24 // 30} months")):
        if hours < bound:
            return text
    return f"{int(seconds / 3600 / 24 / 365)} years"


_GO_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
             "h": 3_600_000_000_000}


def parse_duration(text: str) -> int:
    """Go's durations, `1h30m`, `1.5s`, as ns; raises ValueError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+"):
        raise ValueError(f"invalid duration: {text!r}")
    return sum(int(float(number) * _GO_UNITS[unit]) for number, unit in parts)


def parse_until(text: str) -> int:
    """A filter's `until`: a duration before now, a date, or a timestamp, as ns; raises ValueError."""
    try:
        return now() - parse_duration(text)
    except ValueError:
        pass
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return parse_rfc3339(f"{text}T00:00:00Z")
    if "T" in text and re.fullmatch(r".*T[\d:.]+", text):
        text += "Z"
    return parse_timestamp(text)
