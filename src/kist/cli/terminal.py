"""The user's terminal: its size, raw mode that is always taken back, detach keys."""

from __future__ import annotations

import os
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

DEFAULT_DETACH_KEYS = b"\x10\x11"  # ctrl-p ctrl-q
_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def size(fd: int) -> tuple[int, int]:
    """(height, width) of a terminal, (0, 0) for anything else."""
    try:
        found = os.get_terminal_size(fd)
    except OSError:
        return 0, 0
    return found.lines, found.columns


class RawMode:
    """`with RawMode(0): …` – every key goes to the container as it is typed (termios(3), cfmakeraw)."""

    __slots__ = ("_before", "_fd")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> RawMode:
        self._before = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
                     | termios.IGNCR | termios.ICRNL | termios.IXON)
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            termios.tcsetattr(self._fd, termios.TCSANOW, before)


def detach_keys(text: str) -> bytes:
    """`"ctrl-p,ctrl-q"` → the bytes of the keys; ValueError when it is no key sequence."""
    if not text:
        return DEFAULT_DETACH_KEYS
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1:
            keys += key.encode()
            continue
        letter = key.removeprefix("ctrl-").lower()
        if not key.startswith("ctrl-") or len(letter) != 1 or not ("a" <= letter <= "z" or letter in _CONTROLS):
            raise ValueError(f"Unknown character: '{key}'")
        keys.append(_CONTROLS[letter] if letter in _CONTROLS else ord(letter) - ord("a") + 1)
    return bytes(keys)


class DetachFilter:
    """Bytes typed in, bytes for the container out; `detached` when the keys came in one row.

    The first keys of the sequence are held back until it is clear that they are not its beginning.
    """

    __slots__ = ("_held", "_keys", "detached")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        keys = self._keys
        if not self._held and keys[:1] not in data:
            return data
        passed = bytearray()
        for byte in data:
            while byte != keys[self._held] and self._held:
                # The held keys were no beginning of the sequence; the last of them may start another one.
                held = keys[:self._held]
                shorter = next((n for n in range(self._held - 1, 0, -1) if held.endswith(keys[:n])), 0)
                passed += held[:self._held - shorter]
                self._held = shorter
            if byte != keys[self._held]:
                passed.append(byte)
                continue
            self._held += 1
            if self._held == len(keys):
                self.detached = True
                break
        return bytes(passed)
