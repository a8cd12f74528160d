"""What the commands share: the state's root, one container, the process of a container."""

from __future__ import annotations

import errno
import os

from kist.linux.namespaces import in_user_namespace
from kist.runtime import jsons
from kist.runtime.cli.options import Usage
from kist.runtime.errors import SpecError
from kist.runtime.state import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed


def root(options: Parsed) -> str:
    """Where the state is. A user's own place is taken by users, and by "root" of a user namespace who is none in
    name (as runc has it: rootless Podman calls its runtime in there)."""
    given = options.string("root")
    if given:
        return given
    runtime_dir = options.environment.get("XDG_RUNTIME_DIR")
    if runtime_dir and (os.geteuid() != 0 or (options.environment.get("USER") != "root" and in_user_namespace())):
        return f"{runtime_dir}/kist-runtime"
    return "/run/kist-runtime"


def rootless(options: Parsed) -> bool:
    """``--rootless true|false|auto``: may control groups be out of reach?"""
    word = options.string("rootless")
    if word in ("", "auto"):
        return os.geteuid() != 0 or in_user_namespace()
    if word not in ("true", "false"):
        raise Usage(f"--rootless: {word!r} is not true, false or auto")
    return word == "true"


def one(options: Parsed, words: list[str], *, most: int = 1) -> Container:
    if not words:
        raise Usage("container id cannot be empty")
    if len(words) > most:
        raise Usage(f"exactly {most} argument(s) expected, got {len(words)}")
    return Container.load(root(options), words[0])


def none_left(own: Parsed) -> None:
    if own.rest:
        raise Usage(f"exactly 0 argument(s) expected, got {len(own.rest)}")


def check_terminal(own: Parsed, *, terminal: bool, detached: bool) -> None:
    """A terminal needs somebody who holds it; a console's socket needs a terminal."""
    if own.string("console-socket") and not terminal:
        raise SpecError("cannot use console socket if runtime will not detach or allocate tty")
    if terminal and detached and not own.string("console-socket"):
        raise SpecError("cannot allocate tty if runtime will detach without setting console socket")


def preserved(count: int) -> int:
    """``--preserve-fds N``: the descriptors 3 to 2+N, each of which the caller must have given. One that is closed
    on exec is our own."""
    for fd in range(3, 3 + count):
        try:
            given = os.get_inheritable(fd)
        except OSError:
            given = False
        if not given:
            raise SpecError(f"unable to stat preserved-fd {fd} (of {count}): it was not given", errno.EBADF)
    return count


def warn_of_capabilities(process: dict[str, Any], log: Log) -> None:
    """runtime-spec 1.2, config.md#linux-process: what can't be granted is logged, and is no failure."""
    from kist.linux.capabilities import NUMBER, last_cap

    named = {name for kind in (process.get("capabilities") or {}).values() for name in kind or ()}
    last = last_cap() if named else 0
    unknown = sorted(name for name in named if NUMBER.get(name, 1000) > last)
    if unknown:
        log.warning(f"ignoring unknown or unavailable capabilities: [{' '.join(unknown)}]")


def show(value: object) -> None:
    print(jsons.dumps(value, indent=2))


def write_pid_file(path: str, pid: int) -> None:
    """By rename: whoever waits for the file finds the number in it."""
    directory, _, name = path.rpartition("/")
    staging = f"{directory or '.'}/.{name}.{os.getpid()}"
    with open(staging, "w", encoding="utf-8") as file:
        file.write(str(pid))
    os.replace(staging, path)
