"""Which ids of the machine a new user namespace has (user_namespaces(7)).

Root writes the maps. A plain user may map himself, if groups can't be dropped in there (setgroups: deny), and with
shadow's set-uid helpers the ranges that /etc/subuid and /etc/subgid give him.
"""

from __future__ import annotations

import errno
import os

from kist.runtime.errors import StepError, step_error

HELPERS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}
_PLACES = "/usr/bin", "/bin", "/usr/local/bin"


def write_maps(pid: int, uid_lines: str, gid_lines: str) -> None:
    """``containerID hostID size`` per line. StepError names the file."""
    for name, lines in (("uid_map", uid_lines), ("gid_map", gid_lines)):
        try:
            if lines.count("\n") > 1 and os.geteuid() != 0:
                _by_helper(HELPERS[name], pid, lines)
                continue
            if name == "gid_map" and os.geteuid() != 0:
                _write(f"/proc/{pid}/setgroups", "deny")
            _write(f"/proc/{pid}/{name}", lines)
        except OSError as error:
            raise step_error(f"write {name}", error) from None


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _by_helper(name: str, pid: int, lines: str) -> None:
    program = next((path for place in _PLACES if os.access(path := f"{place}/{name}", os.X_OK)), None)
    if program is None:
        raise StepError(f"map more than one id without privilege: {name} is not installed", errno.ENOENT)
    child = os.fork()
    if child == 0:
        try:
            os.execve(program, [name, str(pid), *lines.split()], {})
        finally:
            os._exit(126)
    if os.waitpid(child, 0)[1]:
        raise StepError(f"{name} refused the mapping {', '.join(lines.strip().splitlines())}", errno.EPERM)
