"""The sealer: a program of about 1 kB that starts the sealed interpreter in place of an interpreter that would.

    kist-runtime  (src/bin/kist-runtime, a shell script; src/bin/kist does the same for `kist oci`)
      └─ execve ─▶ /var/cache/kist/runtime/<the script's path>      the sealer
                     └─ execveat ─▶ python -I -S start.pyc …        on a read-only mount of its own

It makes `linux/sealed.py`'s system calls. In C::

    for (each of interpreter, start.py, start.pyc)
        if (statx(it) fails || its size or time isn't what was seen) goto slowly;
    if ((fd = open_tree(AT_FDCWD, interpreter, OPEN_TREE_CLONE | O_CLOEXEC)) < 0) goto slowly;
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &read_only, sizeof read_only) < 0) goto slowly;
    execveat(fd, "", {interpreter, "-I", "-S", start.pyc, argv[1]…}, envp, AT_EMPTY_PATH);
    slowly: execve(kist, {kist, "oci", "--script", script, argv[1]…}, envp);

What it was made for is written into it: it belongs to one script and is made anew when one of these files has changed.
It is root's cache, as `__pycache__` is. Nothing depends on it: the interpreter looks for itself whether it is sealed
(start.py), and without a sealer `kist oci` does what it would have done (docs/decisions/runtime-start.md).
"""

from __future__ import annotations

import os
import struct
import sys
from _frozen_importlib_external import SourceFileLoader

from kist.linux.elf import executable
from kist.linux.machine import DATA, MACHINES, Machine
from kist.linux.sealed import AT_EMPTY_PATH, AT_FDCWD, OPEN_TREE_CLONE, READ_ONLY
from kist.runtime.start import SOURCE, compiled_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CACHE = "/var/cache/kist/runtime"  # known to the scripts in src/bin, too
STATX_MTIME, STATX_SIZE = 0x40, 0x200
_SIZE, _SECONDS, _NANOSECONDS = 40, 112, 120  # in struct statx (statx(2))
_ARGV, _ENVP, _FD = 0, 1, 2  # what registers hold
_NO_KIST = b"kist-runtime: Kist has moved: install it again\n"


def program(machine: Machine, script: str, interpreter: str, start: str, files: list[tuple[str, int, int]]) -> bytes:
    """The executable for `script`: `interpreter` runs `start` while each of `files` has its size (bytes) and its time
    (nanoseconds). Pure."""
    m = machine
    m.jump("begin")
    kist = f"{os.path.dirname(script)}/kist"
    quickly, slowly = (interpreter, "-I", "-S", start), (kist, "oci", "--script", script)
    for word in ("", *quickly, *slowly, *(name for name, _size, _time in files)):
        if f"word {word}" not in m.labels:
            m.data(f"word {word}", os.fsencode(word) + b"\0")
    m.data("read-only", READ_ONLY)
    m.data("no kist", _NO_KIST)
    for name, size, time in files:
        m.data(f"marks of {name}", struct.pack("<QqII", size, *divmod(time, 10**9), 0))
    m.code += bytes(-len(m.code) % 8)
    _begin(m)
    for name, _size, _time in files:
        _compare(m, name)
    _seal(m, interpreter)
    _words(m, quickly)
    m.call("execveat", "r2", m.address("word "), "r0", "r1", AT_EMPTY_PATH)
    m.label("slowly")
    _words(m, slowly)
    m.call("execve", m.address(f"word {kist}"), "r0", "r1")
    m.call("write", 2, m.address("no kist"), len(_NO_KIST))
    m.label("end")
    m.call("exit_group", 127)
    return executable(m)


def _begin(m: Machine) -> None:
    """argc, argv, 0, envp, 0 lie on the stack (System V ABI). Four words take the place of argv[0], argc and what is
    below: nobody else uses this stack."""
    m.label("begin")
    m.stack(_ARGV)
    m.load(_ENVP, _ARGV)
    m.jump_if("lt", _ENVP, 1, "end")
    m.shift_left(_ENVP, 3)
    m.add_register(_ENVP, _ARGV)
    m.add(_ENVP, 16)
    m.add(_ARGV, -16)


def _compare(m: Machine, name: str) -> None:
    m.call("statx", AT_FDCWD, m.address(f"word {name}"), 0, STATX_MTIME | STATX_SIZE, DATA, result=3)
    m.jump_if("ne", 3, 0, "slowly")
    m.set(2, DATA)
    m.set(3, m.address(f"marks of {name}"))
    for mark, (offset, size) in enumerate(((_SIZE, 8), (_SECONDS, 8), (_NANOSECONDS, 4))):
        m.load(4, 2, offset, size=size)
        m.load(5, 3, 8 * mark, size=size)
        m.jump_if_same(4, 5, f"{name} has mark {mark}")
        m.jump("slowly")
        m.label(f"{name} has mark {mark}")


def _seal(m: Machine, interpreter: str) -> None:
    m.call("open_tree", AT_FDCWD, m.address(f"word {interpreter}"), OPEN_TREE_CLONE | os.O_CLOEXEC, result=_FD)
    m.jump_if("lt", _FD, 0, "slowly")
    m.call("mount_setattr", "r2", m.address("word "), AT_EMPTY_PATH, m.address("read-only"), len(READ_ONLY), result=3)
    m.jump_if("lt", 3, 0, "slowly")


def _words(m: Machine, words: tuple[str, str, str, str]) -> None:
    for at, word in enumerate(words):
        m.set(3, m.address(f"word {word}"))
        m.store(3, _ARGV, 8 * at)


def leave(script: str, cache: str = CACHE) -> None:
    """Make the sealer of this installation's `script` (an absolute path without links), if this user may."""
    machine = MACHINES.get(os.uname().machine)
    if machine is None or os.geteuid() != 0 or os.path.realpath(script) != script or not os.path.isfile(script):
        return
    try:
        SourceFileLoader("kist.runtime.start", SOURCE).get_code("kist.runtime.start")  # this compiles it
        start = compiled_start()
        files = [(name, info.st_size, info.st_mtime_ns)
                 for name, info in ((name, os.stat(name)) for name in {sys.executable, SOURCE, start})]
        _publish(f"{cache}{script}", program(machine(), script, sys.executable, start, files))
        _forget(cache)
    except OSError:
        pass  # a place that can't be written


def _publish(name: str, content: bytes) -> None:
    """By rename, and on disk before: an empty file that a crash leaves would be run by a shell, with success."""
    _directory(os.path.dirname(name))
    staging = f"{name}.{os.getpid()}"
    with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o755), "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o755)
        os.fsync(file.fileno())
    os.replace(staging, name)


def _directory(path: str) -> None:
    """With all above it, whatever the caller's umask is: nobody else may write there."""
    for end in [at for at, letter in enumerate(f"{path}/") if letter == "/"][1:]:
        try:
            os.mkdir(path[:end], 0o755)
        except FileExistsError:
            continue


def _forget(cache: str) -> None:
    """Sealers of scripts that are no longer there. Another command may be doing the same, or be about to publish."""
    for directory, directories, files in os.walk(cache, topdown=False):
        for name in files:
            script, _dot, pid = f"{directory}/{name}"[len(cache):].rpartition(".")
            if not os.path.exists(script if pid.isdigit() else f"{directory}/{name}"[len(cache):]):
                _gone(os.unlink, f"{directory}/{name}")
        for name in directories:
            if not os.path.exists(f"{directory}/{name}"[len(cache):]):
                _gone(os.rmdir, f"{directory}/{name}")


def _gone(remove: Callable[[str], None], path: str) -> None:
    try:
        remove(path)
    except OSError:
        pass  # it is already, or it isn't empty
