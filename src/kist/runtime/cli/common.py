"""What the commands share: the state's root, one container, the process of a container."""

from __future__ import annotations

import os

from kist.runtime import jsons
from kist.runtime.cli.options import Usage
from kist.runtime.state import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.cli.options import Parsed


def root(options: Parsed) -> str:
    given = options.string("root")
    if given:
        return given
    if os.geteuid() != 0:
        runtime_dir = options.environment.get("XDG_RUNTIME_DIR")
        if runtime_dir:
            return f"{runtime_dir}/kist-runtime"
    return "/run/kist-runtime"


def one(options: Parsed, words: list[str], *, most: int = 1) -> Container:
    if not words:
        raise Usage("container id cannot be empty")
    if len(words) > most:
        raise Usage(f"exactly {most} argument(s) expected, got {len(words)}")
    return Container.load(root(options), words[0])


def show(value: object) -> None:
    print(jsons.dumps(value, indent=2))


def write_pid_file(path: str, pid: int) -> None:
    """By rename: whoever waits for the file finds the number in it."""
    directory, _, name = path.rpartition("/")
    staging = f"{directory or '.'}/.{name}.{os.getpid()}"
    with open(staging, "w", encoding="utf-8") as file:
        file.write(str(pid))
    os.replace(staging, path)
