"""Progress messages of pull, push, load and import: one JSON object a line (moby ``pkg/jsonmessage``).

::

    {"status":"Pulling from library/busybox","id":"latest"}
    {"status":"Downloading","progressDetail":{"current":512,"total":2048},"id":"3b4fa1c2d0aa"}
    {"status":"Pull complete","progressDetail":{},"id":"3b4fa1c2d0aa"}
    {"status":"Status: Downloaded newer image for busybox:latest"}
    {"errorDetail":{"message":"…"},"error":"…"}                 the last line of a failure
"""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]


def status(text: str, id: str = "") -> Message:
    """A line of its own, or the state of the part called ``id`` without a bar."""
    return {"status": text, "id": id} if id else {"status": text}


def step(id: str, text: str) -> Message:
    """The part ``id`` has come to a new step (its bar goes)."""
    return {"status": text, "progressDetail": {}, "id": id}


def bar(id: str, text: str, current: int, total: int) -> Message:
    """How far the part ``id`` is, in bytes."""
    shown = f"{_bar(current, total)} {size(current)}/{size(total)}" if total else size(current)
    return {
        "status": text,
        "progressDetail": {"current": current, "total": total} if total else {"current": current},
        "progress": shown,
        "id": id,
    }


def error(text: str) -> Message:
    return {"errorDetail": {"message": text}, "error": text}


def is_bar(message: Message) -> bool:
    """Whether a later message of the same part makes this one worthless."""
    return bool(message.get("progressDetail"))


def size(count: int) -> str:
    """Bytes as Docker shows them: four digits at most, decimal units."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.4g}{_UNITS[unit]}"


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def _bar(current: int, total: int) -> str:
    done = min(50, max(0, current * 50 // total))
    return f"[{'=' * done}>{' ' * (50 - done)}]" if done < 50 else f"[{'=' * 50}>]"
