"""The init, instruction by instruction: `docker-init -- PROGRAM [ARGUMENT...]`. Pure.

In C it would be::

    block all signals; if ((child = fork()) == 0) { own process group, foreground; unblock; exec along PATH; }
    for (;;) {
        signal = wait for a signal;
        if (signal != SIGCHLD) kill(child, signal);
        else while ((pid = wait4(-1, &status, WNOHANG)) > 0) if (pid == child) ended = status;
        if (child has ended) exit(its status, or 128 + its signal);
    }

Statuses as tini's, which Docker runs: 127 where the program isn't there, 126 where it can't be executed.
"""

from __future__ import annotations

from kist.linux.machine import DATA, Machine

SIG_SETMASK, SIGCHLD, WNOHANG, PR_SET_CHILD_SUBREAPER, TIOCSPGRP = 2, 17, 1, 36, 0x5410
ENOENT, EACCES, ENOTDIR = 2, 13, 20
STDIN, STDERR = 0, 2
# The memory
MASK, STATUS, GROUP, ENDED, ERROR, NAME = DATA, DATA + 8, DATA + 16, DATA + 24, DATA + 32, DATA + 64
STACK, ARGV, ENVP = 0, 0, 1  # what registers hold
CHILD = 2
PATH = int.from_bytes(b"PATH", "little")


def program(machine: Machine) -> Machine:
    m = machine
    m.jump("start")
    for name, content in _CONSTANTS.items():
        m.data(name, content)
    m.code += bytes(-len(m.code) % 8)
    _start(m)
    _forward(m)
    _reap(m)
    _child(m)
    _along_path(m)
    _failed(m)
    return m


_CONSTANTS = {
    "all": b"\xff" * 8,
    "exec": b"docker-init: exec ",
    "no such file": b": No such file or directory\n",
    "not permitted": b": Permission denied\n",
    "no program": b": cannot be executed\n",
}


def _start(m: Machine) -> None:
    """argc, argv, 0, envp, 0 lie on the stack (System V ABI); the program's words begin with argv[2]."""
    m.label("start")
    m.stack(STACK)
    m.load(ENVP, STACK)
    m.jump_if("lt", ENVP, 3, "nothing to do")
    m.shift_left(ENVP, 3)
    m.add_register(ENVP, STACK)
    m.add(ENVP, 16)
    m.add(ARGV, 24)
    m.call("rt_sigprocmask", SIG_SETMASK, m.address("all"), MASK, 8)
    m.call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # it isn't process 1 with --pid host
    m.call("clone", SIGCHLD, 0, 0, 0, 0, result=CHILD)
    m.jump_if("eq", CHILD, 0, "child")
    m.jump_if("ge", CHILD, 0, "wait")
    m.label("nothing to do")
    m.call("exit_group", 125)


def _forward(m: Machine) -> None:
    m.label("wait")
    m.call("rt_sigtimedwait", m.address("all"), 0, 0, 8, result=3)
    m.jump_if("lt", 3, 0, "wait")
    m.jump_if("eq", 3, SIGCHLD, "reap")
    m.call("kill", "r2", "r3")
    m.jump("wait")


def _reap(m: Machine) -> None:
    """Everything that has ended; then, if the child has, the end."""
    m.label("reap")
    m.call("wait4", -1, STATUS, WNOHANG, 0, result=3)
    m.jump_if("lt", 3, 1, "reaped")
    m.jump_if_same(3, CHILD, "child ended")
    m.jump("reap")
    m.label("child ended")
    m.set(4, STATUS)
    m.load(3, 4, size=4)
    m.set(5, 1)
    m.store(5, 4, ENDED - STATUS)
    m.store(3, 4, ERROR - STATUS)
    m.jump("reap")
    m.label("reaped")
    m.set(4, ENDED)
    m.load(3, 4)
    m.jump_if("eq", 3, 0, "wait")
    m.load(3, 4, ERROR - ENDED)
    m.move(5, 3)
    m.keep_bits(5, 7)
    m.jump_if("ne", 5, 0, "by a signal")
    m.shift_right(3, 8)
    m.keep_bits(3, 8)
    m.call("exit_group", "r3")
    m.label("by a signal")
    m.add(5, 128)
    m.call("exit_group", "r5")


def _child(m: Machine) -> None:
    """A process group of its own, in front where there is a terminal: its keys are for the program, not for init."""
    m.label("child")
    m.call("setpgid", 0, 0)
    m.call("getpid", result=3)
    m.set(4, GROUP)
    m.store(3, 4)
    m.call("ioctl", STDIN, TIOCSPGRP, "r4")
    m.call("rt_sigprocmask", SIG_SETMASK, MASK, 0, 8)
    m.load(2, ARGV)
    m.move(3, 2)
    m.label("slash?")
    m.load(4, 3, size=1)
    m.add(3, 1)
    m.jump_if("eq", 4, 0, "search")
    m.jump_if("ne", 4, ord("/"), "slash?")
    m.call("execve", "r2", "r0", "r1", result=5)
    m.jump("failed")


def _along_path(m: Machine) -> None:
    """Register 2: the program's name, 3: where we are in PATH, 4: in the name that is made, 5: a byte or an error."""
    m.label("search")
    m.set(5, -ENOENT)
    m.set(4, ERROR)
    m.store(5, 4)
    m.move(4, ENVP)
    m.label("variable")
    m.load(3, 4)
    m.add(4, 8)
    m.jump_if("eq", 3, 0, "last error")
    m.load(5, 3, size=4)
    m.jump_if("ne", 5, PATH, "variable")
    m.load(5, 3, 4, size=1)
    m.jump_if("ne", 5, ord("="), "variable")
    m.add(3, 5)

    m.label("directory")
    m.set(4, NAME)
    m.label("copy")
    m.load(5, 3, size=1)
    m.jump_if("eq", 5, 0, "copied")
    m.jump_if("eq", 5, ord(":"), "copied")
    m.store(5, 4, size=1)
    m.add(3, 1)
    m.add(4, 1)
    m.jump("copy")
    m.label("copied")
    m.jump_if("eq", 4, NAME, "name")  # an empty one: here
    m.set(5, ord("/"))
    m.store(5, 4, size=1)
    m.add(4, 1)
    m.label("name")
    m.load(5, 2, size=1)
    m.store(5, 4, size=1)
    m.add(2, 1)
    m.add(4, 1)
    m.jump_if("ne", 5, 0, "name")
    m.load(2, ARGV)
    m.set(4, NAME)
    m.call("execve", "r4", "r0", "r1", result=5)
    m.jump_if("eq", 5, -ENOENT, "next")
    m.jump_if("eq", 5, -ENOTDIR, "next")
    m.jump_if("ne", 5, -EACCES, "failed")
    m.set(4, ERROR)
    m.store(5, 4)
    m.label("next")
    m.load(5, 3, size=1)
    m.add(3, 1)
    m.jump_if("ne", 5, 0, "directory")
    m.label("last error")
    m.set(4, ERROR)
    m.load(5, 4)


def _failed(m: Machine) -> None:
    """`docker-init: exec NAME: No such file or directory`; register 2: the name, 5: the error."""
    m.label("failed")
    m.call("write", STDERR, m.address("exec"), len(_CONSTANTS["exec"]))
    m.set(3, 0)
    m.move(4, 2)
    m.label("length")
    m.load(1, 4, size=1)
    m.jump_if("eq", 1, 0, "told")
    m.add(3, 1)
    m.add(4, 1)
    m.jump("length")
    m.label("told")
    m.call("write", STDERR, "r2", "r3")
    for error, words, status in ((ENOENT, "no such file", 127), (ENOTDIR, "no such file", 127),
                                 (EACCES, "not permitted", 126), (None, "no program", 126)):
        if error is not None:
            m.jump_if("ne", 5, -error, f"not {error}")
        m.call("write", STDERR, m.address(words), len(_CONSTANTS[words]))
        m.call("exit_group", status)
        if error is not None:
            m.label(f"not {error}")
