"""``python -I -S …/kist/launcher/__main__.py --fd N``: the launcher, on its end of the engine's socket.

Without site packages: the path to kist itself is all that is added.
"""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "--fd" or not arguments[1].isdigit():
        print("usage: launcher --fd N", file=sys.stderr)
        return 2
    from _socket import socket

    from kist.launcher.server import serve

    fd = int(arguments[1])
    sock = socket(fileno=os.dup(fd))  # the copy is close-on-exec
    os.close(fd)
    serve(sock)
    return 0


if __name__ == "__main__":
    # The script's own directory is not searched (-I), and must not be: it has modules named like others
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.exit(main(sys.argv[1:]))
