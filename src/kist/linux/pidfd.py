"""pidfd_open(2), pidfd_send_signal(2), as the interpreter has them: `ctypes` is not needed for these."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signals
else:
    import _signal as signals  # the same, without the enums: they take 3 ms to make


def pidfd_open(pid: int) -> int:
    return os.pidfd_open(pid)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    signals.pidfd_send_signal(pidfd, signal)
