"""Finding the program of the user, and execve(2), with the words that Docker's users know."""

from __future__ import annotations

import errno
import os
import stat

from kist.runtime.errors import ExecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_FOUND = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_WORDS = {errno.ENOENT: "no such file or directory", errno.ENOTDIR: "not a directory",
          errno.EACCES: "permission denied", errno.ENOEXEC: "exec format error", errno.EPERM: "operation not permitted",
          errno.ELOOP: "too many levels of symbolic links", errno.ENAMETOOLONG: "file name too long",
          errno.E2BIG: "argument list too long", errno.ETXTBSY: "text file busy"}
_KIND = {errno.ENOENT: "not found", errno.ENOTDIR: "not found", errno.EACCES: "not executable",
         errno.ENOEXEC: "not executable"}


def environment(process: dict[str, Any]) -> dict[str, str]:
    """``process.env`` as a mapping; what has no "=" names no variable."""
    pairs = (entry.partition("=") for entry in process.get("env") or [])
    return {name: value for name, equals, value in pairs if equals and name}


def find(process: dict[str, Any]) -> str:
    """The path of ``args[0]``, looked up in the container's PATH if it has no slash."""
    args = process.get("args") or []
    if not args:
        raise ExecError("no command specified", errno.EINVAL)
    name = args[0]
    if "/" in name:
        problem = _problem(name)
        if problem == errno.ENOENT:
            raise ExecError(f'exec: "{name}": stat {name}: no such file or directory', problem, "not found")
        if problem:
            raise _refused(name, problem)
        return str(name)
    return _search(name, environment(process).get("PATH", _PATH))


def _search(name: str, path: str) -> str:
    """As execvp(3): a file that may not be executed is remembered, and the search goes on."""
    denied = 0
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        problem = _problem(candidate)
        if not problem:
            return candidate
        if problem not in _NOT_FOUND:
            denied = denied or problem
    if denied == errno.EACCES:
        raise _refused(name, denied)
    raise ExecError(f'exec: "{name}": executable file not found in $PATH', errno.ENOENT, "not found")


def _problem(path: str) -> int:
    """0 if ``path`` can be executed, else the errno that execve(2) would give (EISDIR for a directory)."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return error.errno or errno.EIO
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if os.access(path, os.X_OK, effective_ids=True) else errno.EACCES


def _refused(name: str, problem: int) -> ExecError:
    words = "is a directory" if problem == errno.EISDIR else _words(problem)
    kind = "not executable" if problem in (errno.EISDIR, errno.EACCES) else _KIND.get(problem, "other")
    return ExecError(f'exec: "{name}": {words}', problem, kind)


def _words(code: int) -> str:
    return _WORDS.get(code) or os.strerror(code).lower()


def execute(path: str, process: dict[str, Any]) -> None:
    """Never returns but by ExecError."""
    env = environment(process)
    if "HOME" not in env:
        env["HOME"] = home((process.get("user") or {}).get("uid") or 0)
    try:
        os.execve(path, process["args"], env)
    except OSError as error:
        code = error.errno or errno.EIO
        raise ExecError(f"exec {path}: {_words(code)}", code, _KIND.get(code, "other")) from None


def home(uid: int) -> str:
    """The user's directory by the container's /etc/passwd (we are inside), else "/"."""
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return "/"
    try:
        text = os.read(fd, 1 << 20)
    except OSError:
        return "/"
    finally:
        os.close(fd)
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 5 and fields[2] == str(uid).encode():
            return os.fsdecode(fields[5]) or "/"
    return "/"
