"""What a request asks for in its query, as values the engine takes (pure; bodies are in `bodies.py`)."""

from __future__ import annotations

from dataclasses import dataclass

Filters = dict[str, list[str]]
"""Filter name → the accepted values, as ``filters.parse`` gives them."""


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """``POST /containers/{id}/attach`` (and ``…/attach/ws``, which is never framed).

    ``framed`` asks for the 8-byte stream frames of `frames.py`; a container with a terminal is sent raw.
    ``logs`` replays what was recorded first, ``stream`` goes on with what comes.
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = False
    logs: bool = False
    framed: bool = True
    detach_keys: str | None = None  # None: the default, ctrl-p ctrl-q; the text is Docker's notation


@dataclass(frozen=True, slots=True)
class LogOptions:
    """``GET /containers/{id}/logs``. Times are nanoseconds since the epoch; ``tail`` is None for all."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since: int | None = None
    until: int | None = None
    tail: int | None = None
