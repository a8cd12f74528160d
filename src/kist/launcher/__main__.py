"""``python -I -S …/kist/launcher/__main__.py --fd N --scratch DIR``: the launcher, on its end of the engine's socket.

Without site packages: the path to kist itself is all that is added.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    if len(arguments) != 4 or arguments[::2] != ["--fd", "--scratch"] or not arguments[1].isdigit():
        print("usage: launcher --fd N --scratch DIR", file=sys.stderr)
        return 2
    from _socket import socket

    from kist.launcher.memory import fill_holes

    fill_holes()  # so that the modules of the monitor, which come next, lie close together
    from kist.launcher.server import serve

    fd = int(arguments[1])
    sock = socket(fileno=os.dup(fd))  # the copy is close-on-exec
    os.close(fd)
    serve(sock, arguments[3])
    return 0


def seal(arguments: list[str]) -> None:
    """Containers are forks of this process' forks: its interpreter must lie out of their reach (CVE-2019-5736). Without
    privilege nobody could overwrite it from a container either."""
    if os.geteuid() != 0:
        return
    from kist.linux.sealed import is_sealed, reexec

    if not is_sealed():
        reexec(sys.executable, ["-I", "-S", os.path.abspath(__file__), *arguments])


if __name__ == "__main__":
    # The script's own directory is not searched (-I), and must not be: it has modules named like others
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    seal(sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
