"""Detach keys (default ctrl-p, ctrl-q) in a client's input. Pure: bytes in, bytes out."""

from __future__ import annotations


class DetachKeys:
    """Finds the sequence, also when it is split over several reads.

    The beginning of a sequence is kept back until the next byte shows whether it goes on. As in Docker, a byte
    that breaks a sequence doesn't begin a new one, so that ctrl-p twice gets through as a whole.
    """

    __slots__ = ("_keys", "_matched")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Give (what to pass on, detached); what follows the sequence is dropped."""
        keys = self._keys
        if not keys or (not self._matched and keys[0] not in data):
            return data, False
        out = bytearray()
        for byte in data:
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(out), True
                continue
            out += keys[: self._matched]
            out.append(byte)
            self._matched = 0
        return bytes(out), False
