"""From the specification's ``linux.seccomp`` to a BPF program, once; the program is kept on disk by its hash."""

from __future__ import annotations

import errno
import os

from kist.linux import seccomp
from kist.runtime.errors import SpecError

try:  # hashlib would bring OpenSSL along: 5 ms for each container, for each is made by a fresh fork
    from _sha256 import sha256  # type: ignore[import-not-found]
except ImportError:  # Python 3.12 has it elsewhere
    from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPERM = 1
# A thread that waits for the answer to its own message can't send the listener out.
_NOT_NOTIFIED = {"sendmsg", "sendto", "write"}


def compile(section: dict[str, Any]) -> bytes:
    """runtime-spec 1.2, config-linux.md#seccomp. System calls that libseccomp doesn't know are left out."""
    default = _action(section["defaultAction"], section.get("defaultErrnoRet"))
    with seccomp.Filter(default) as made:
        for arch in section.get("architectures") or []:
            if arch not in seccomp.ARCH:
                raise SpecError(f"linux.seccomp.architectures: unknown value {arch!r}")
            made.add_arch(arch)
        for rule in section.get("syscalls") or []:
            action = _action(rule["action"], rule.get("errnoRet"))
            _check_notify(rule, section)
            if action == default:
                continue  # libseccomp refuses a rule that says what is the case anyway
            for compares in _alternatives(rule.get("args") or []):
                for name in rule["names"]:
                    made.add_rule(action, name, compares)
        made.optimize()
        return made.export()


def _action(name: str, code: int | None) -> int:
    if name not in seccomp.ACT:
        raise SpecError(f"linux.seccomp: unknown action {name!r}")
    action = seccomp.ACT[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return action | (_EPERM if code is None else code)
    if code is not None:
        raise SpecError(f"linux.seccomp: {name} takes no errnoRet")
    return action


def _check_notify(rule: dict[str, Any], section: dict[str, Any]) -> None:
    if rule["action"] != "SCMP_ACT_NOTIFY":
        return
    if not section.get("listenerPath"):
        raise SpecError("linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath")
    forbidden = _NOT_NOTIFIED & set(rule["names"])
    if forbidden:
        raise SpecError(f"linux.seccomp: SCMP_ACT_NOTIFY can't be used for {', '.join(sorted(forbidden))}")


def _alternatives(args: list[dict[str, Any]]) -> list[list[tuple[int, int, int, int]]]:
    """Comparisons of different arguments hold together, those of one argument each for itself (as runc)."""
    compares = []
    for arg in args:
        if arg["op"] not in seccomp.CMP:
            raise SpecError(f"linux.seccomp: unknown operator {arg['op']!r}")
        compares.append((arg["index"], seccomp.CMP[arg["op"]], arg["value"], arg.get("valueTwo") or 0))
    if len({compare[0] for compare in compares}) < len(compares):
        return [[compare] for compare in compares]
    return [compares]


def compile_cached(section: dict[str, Any], cache_dir: str) -> bytes:
    """The program from ``cache_dir``, or compiled and put there. The name says machine and library too."""
    path = os.path.join(cache_dir, key(section))
    try:
        with open(path, "rb") as file:
            program = file.read()
        if program and len(program) % 8 == 0:
            return program
    except FileNotFoundError:
        pass
    program = compile(section)
    _publish(path, program)
    return program


def key(section: dict[str, Any]) -> str:
    """The name of its program in the cache."""
    rules = {key: value for key, value in section.items() if not key.startswith("listener")}
    text = repr([3, os.uname().machine, rules])  # the same rules in another order: compiled once more
    digest: str = sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{digest[:32]}.bpf"


def _publish(path: str, program: bytes) -> None:
    """By rename: a reader sees all of it or nothing. A cache that can't be written costs time only."""
    staging = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(staging, "xb") as file:
            file.write(program)
        os.replace(staging, path)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EEXIST):
            raise
