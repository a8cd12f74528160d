"""Runs a command, and reaps whoever is orphaned below it, as a system's first process does: `reaper.py COMMAND…`.

Ends with the command's status when the last of them has ended. A test machine's first process may take its time, and
a container's first process ends only when all of the others in its PID namespace are reaped.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    first = os.fork()
    if not first:
        os.execvp(command[0], command)
    os.closerange(3, 1024)  # pipes that are the command's
    status = 0
    while True:
        try:
            pid, how = os.wait()
        except ChildProcessError:
            return status
        if pid == first:
            status = os.waitstatus_to_exitcode(how)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
