"""What the engine opens for a monitor, before it asks for a start.

The engine has done such things before; to a monitor each is work done once in its life, and memory touched for it
is its own from then on.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_SEQPACKET, socket

from kist.launcher import state
from kist.launcher.control import SOCKET_NAME
from kist.launcher.log import KEPT_IN_FILES, open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


class Ends:
    """The descriptors, for a ``with`` statement (the monitor gets copies): ``listener`` is <run_dir>/monitor.sock,
    ``log`` the log's file, None if it is not kept in one. Also forgets how the container ended the last time.

    Raises OSError.
    """

    def __init__(self, run_dir: str, data_dir: str, log: dict[str, Any]) -> None:
        state.forget(f"{data_dir}/exit.json")
        self.listener = listen(run_dir)
        try:
            files = log if log["driver"] in KEPT_IN_FILES else log.get("cache")
            self.log = open_file(files["path"], files["driver"]) if files else None
        except BaseException:
            os.close(self.listener)
            state.forget(f"{run_dir}/{SOCKET_NAME}")
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.listener)
        if self.log is not None:
            os.close(self.log)


def listen(directory: str) -> int:
    """Make ``directory``/monitor.sock (0600) and listen there; gives the descriptor. Raises OSError."""
    sock = socket(AF_UNIX, SOCK_SEQPACKET)
    # A short name: socket paths may have 107 bytes only (unix(7))
    near = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = f"/proc/self/fd/{near}/{SOCKET_NAME}"
        state.forget(path)
        sock.bind(path)
        os.chmod(path, 0o600)  # nobody can connect before listen(2)
        sock.listen(16)
        return sock.detach()
    finally:
        sock.close()
        os.close(near)
