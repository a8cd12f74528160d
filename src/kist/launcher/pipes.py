"""The pipes between a process and its monitor."""

from __future__ import annotations

import os


class Pipes:
    """The process's ends (``child``: stdin, stdout, stderr) and the monitor's; -1 for what is not there.

    They are made by ``open``. Without ``stdin`` or ``output`` the process gets /dev/null.
    """

    __slots__ = ("child", "stderr", "stdin", "stdout")

    def __init__(self) -> None:
        self.child: list[int] = []
        self.stdin = self.stdout = self.stderr = -1

    def open(self, *, stdin: bool, output: bool) -> Pipes:
        try:
            if stdin:
                read, self.stdin = os.pipe2(os.O_CLOEXEC)
                self.child.append(read)
            else:
                self.child.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
            if output:
                self.stdout, write = os.pipe2(os.O_CLOEXEC)
                self.child.append(write)
                self.stderr, write = os.pipe2(os.O_CLOEXEC)
                self.child.append(write)
            else:
                self.child += [os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC) for _ in range(2)]
        except OSError:
            self.close_child()
            self.close_monitor()
            raise
        return self

    @property
    def monitor(self) -> list[int]:
        """The monitor's ends: stdin (if there is one), stdout, stderr."""
        return [fd for fd in (self.stdin, self.stdout, self.stderr) if fd >= 0]

    def close_child(self) -> None:
        """Once the process has them: its end of the output must not be held open here."""
        for fd in self.child:
            os.close(fd)
        self.child.clear()

    def close_monitor(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = -1
