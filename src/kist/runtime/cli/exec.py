"""``exec [--process FILE | options] ID [COMMAND…]``: one more process in a running container."""

from __future__ import annotations

import os

from kist.linux.pidfd import pidfd_open
from kist.runtime import jsons
from kist.runtime.cli.common import check_terminal, one, preserved, warn_of_capabilities, write_pid_file
from kist.runtime.cli.options import FLAG, LIST, NUMBER, STRING, Option, Usage, parse
from kist.runtime.cli.relay import Foreground
from kist.runtime.cli.sending import send_console, send_fd, send_listener
from kist.runtime.errors import SpecError, StepError
from kist.runtime.exec import Execed, exec_process
from kist.runtime.state import PAUSED, Container, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup
    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

FAILED = "exec failed: "
STATUS = 255
_OPTIONS = {
    "console-socket": Option("", STRING), "pidfd-socket": Option("", STRING), "cwd": Option("", STRING),
    "env": Option("e", LIST), "tty": Option("t", FLAG), "user": Option("u", STRING),
    "additional-gids": Option("g", LIST), "process": Option("p", STRING), "detach": Option("d", FLAG),
    "pid-file": Option("", STRING), "process-label": Option("", STRING), "apparmor": Option("", STRING),
    "no-new-privs": Option("", FLAG), "cap": Option("c", LIST), "preserve-fds": Option("", NUMBER),
    "cgroup": Option("", LIST), "ignore-paused": Option("", FLAG), "no-subreaper": Option("", FLAG),
}


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse(_OPTIONS, words)
    if not own.rest or (len(own.rest) < 2 and not own.string("process")):
        raise Usage("exec needs a container id and a command")
    container = one(options, own.rest[:1])
    if not (own.flag("ignore-paused") and container.status() == PAUSED):
        container.may("exec")
    spec = container.spec()
    process = _process(own, spec, own.rest[1:])
    check_terminal(own, terminal=bool(process.get("terminal")), detached=own.flag("detach"))
    foreground = None if own.flag("detach") else Foreground()
    warn_of_capabilities(process, log)
    init = _hold(container)
    execed = exec_process(container.pid, process, spec, stdio=None, cgroup=_cgroup(own, container), init_pidfd=init,
                          preserve_fds=preserved(own.number("preserve-fds")), container_id=container.id)
    os.close(init)
    _hand_over(own, execed, spec, container)
    if foreground is None:
        return 0
    return foreground.wait(execed.pid, execed.pidfd, None if own.string("console-socket") else execed.console)


def _hold(container: Container) -> int:
    """The container's first process itself, as its number may by now be another's."""
    try:
        pidfd = pidfd_open(container.pid)
    except ProcessLookupError:
        pidfd = -1
    if pidfd < 0 or start_time(container.pid) != container.record["start_time"]:
        container.may("exec")  # says that it has stopped
        raise StepError("the container has stopped")
    return pidfd


def _process(own: Parsed, spec: dict[str, Any], args: list[str]) -> dict[str, Any]:
    """From the file, or the container's own process with what the options change."""
    if own.string("process"):
        return _read(own.string("process"))
    process: dict[str, Any] = spec["process"]
    process.update(args=args, terminal=own.flag("tty"))
    for variable in own.list("env"):
        if "=" not in variable:
            raise SpecError(f'invalid environment variable: "{variable}"')
        process.setdefault("env", []).append(variable)
    if own.string("cwd"):
        process["cwd"] = own.string("cwd")
    if own.string("process-label"):
        process["selinuxLabel"] = own.string("process-label")
    if own.string("apparmor"):
        process["apparmorProfile"] = own.string("apparmor")
    if own.flag("no-new-privs"):
        process["noNewPrivileges"] = True
    if own.string("user"):
        _user(process, own.string("user"))
    if own.list("additional-gids"):
        process.setdefault("user", {})["additionalGids"] = [_id(word) for word in own.list("additional-gids")]
    for name in own.list("cap"):
        for kind in ("bounding", "effective", "permitted"):
            process.setdefault("capabilities", {}).setdefault(kind, []).append(name)
    return process


def _read(path: str) -> dict[str, Any]:
    try:
        given = jsons.load(path)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    if not isinstance(given, dict):
        raise SpecError(f"{path}: it is no process")
    for name in ("args", "env"):
        words = given.get(name) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise SpecError(f"process.{name}: it must be a list of strings")
    if not given.get("args"):
        raise SpecError("process.args: it must not be empty")
    if not str(given.get("cwd")).startswith("/"):
        raise SpecError("process.cwd: it must be an absolute path")
    return given


def _user(process: dict[str, Any], text: str) -> None:
    """uid[:gid], numbers as runc has it."""
    uid, _, gid = text.partition(":")
    process["user"] = {**(process.get("user") or {}), "uid": _id(uid)}
    if gid:
        process["user"]["gid"] = _id(gid)


def _id(word: str) -> int:
    """Digits only: "+1", "1_0" or "0x0" are no ids (CVE-2026-46680)."""
    if not (word.isascii() and word.isdigit()) or int(word) >= (1 << 32) - 1:
        raise SpecError(f"{word!r} is not an id")
    return int(word)


def _cgroup(own: Parsed, container: Container) -> Cgroup:
    """``--cgroup PATH``: a group below the container's."""
    group = container.cgroup()
    for entry in own.list("cgroup"):
        controllers, colon, path = entry.rpartition(":")
        if colon and controllers:
            raise Usage("--cgroup: a path for single controllers is not supported; give the path alone")
        if ".." in path.split("/"):
            raise Usage(f"--cgroup: {path!r} leads out of the container's group")
        from kist.runtime.cgroup import open_path
        group = open_path(f"{group.path}/{path.strip('/')}".rstrip("/"))
        if not group.exists():
            raise Usage(f"--cgroup: there is no group {path!r}")
    return group


def _hand_over(own: Parsed, execed: Execed, spec: dict[str, Any], container: Container) -> None:
    if own.string("console-socket") and execed.console is not None:
        send_console(own.string("console-socket"), execed.console)
    if own.string("pidfd-socket"):
        send_fd(own.string("pidfd-socket"), execed.pidfd, b"pidfd")
    if execed.listener is not None:
        send_listener(spec, container.state(), execed.pid, execed.listener)
    if own.string("pid-file"):
        write_pid_file(own.string("pid-file"), execed.pid)
