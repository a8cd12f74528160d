"""Times that users write: `42m` (ago), `2013-01-02T13:23:37Z`, `2013-01-02`, Unix seconds → Unix seconds.

As text, `seconds[.nanoseconds]`: the API's form.
"""

from __future__ import annotations

import time

from kist.cli.values import duration


def timestamp(text: str, now: float | None = None) -> str:
    """ValueError when it is none of these."""
    if text.replace(".", "", 1).isdigit():
        return text
    try:
        ago = duration(text)
    except ValueError:
        return _date(text)
    moment = int((time.time() if now is None else now) * 1e9) - ago
    return f"{moment // 1_000_000_000}.{moment % 1_000_000_000:09d}"


def _date(text: str) -> str:
    """A date with as much of a time as there is; without a zone it is local."""
    from datetime import datetime

    whole, mark, rest = text.partition(".")
    digits = rest[:len(rest) - len(rest.lstrip("0123456789"))]
    if mark:
        whole += rest[len(digits):]
    if len(whole) == 13:  # only hours
        whole += ":00"
    try:
        moment = datetime.fromisoformat(whole.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f'failed to parse value as time or duration: "{text}"') from None
    seconds = int(moment.timestamp())
    return f"{seconds}.{digits[:9]:<09s}" if digits else str(seconds)
