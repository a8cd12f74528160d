"""The latest events on disk, so that `events --since` reaches back over a restart of the server.

::

    <data>/events.log      one event a line, as the API has it; at most KEPT of them
    <data>/events.log.1    those before

A line is written when its event is published, and not synced: a power cut may take the last ones along. What is no
event is passed over. A disk that is full costs the log, not the event.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

import msgspec

log = logging.getLogger(__name__)
KEPT = 1024  # events; as many as are kept in memory
LARGEST = 8 << 20  # bytes of a file: events carry labels, and these may be long
_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct):
    """What an event has at least."""

    Type: str
    Action: str
    Actor: dict[str, Any]
    scope: str
    time_nano: int = msgspec.field(name="timeNano")


class EventLog:
    """`append` is called in the event loop; it does one write(2) to the page cache."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._lines = self._size = 0
        self._complained = False

    def open(self) -> list[dict[str, Any]]:
        """The events of earlier servers, oldest first. Raises OSError."""
        older = _read(f"{self._path}.1")
        newer = _read(self._path)
        self._open(len(newer))
        return sorted(older + newer, key=lambda event: event["timeNano"])[-KEPT:]

    def append(self, event: dict[str, Any]) -> None:
        line = _encode(event) + b"\n"
        try:
            if self._lines >= KEPT or self._size + len(line) > LARGEST:
                self._rotate()
            os.write(self._fd, line)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("%s: %s: events are not kept", self._path, error)
            return
        self._lines += 1
        self._size += len(line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, lines: int) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lines, self._size = lines, os.fstat(self._fd).st_size
        if self._size:
            os.write(self._fd, b"\n")  # what a power cut left of a line stays apart

    def _rotate(self) -> None:
        self.close()
        with suppress(FileNotFoundError):
            os.rename(self._path, f"{self._path}.1")
        self._open(0)


def _read(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            lines = file.read(2 * LARGEST).split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            event = msgspec.json.decode(line)
            msgspec.convert(event, _Line)
            found.append(event)
    return found
