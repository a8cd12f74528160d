"""Steps that turn init (or a forked helper) into the process of the user (runtime-spec 1.2, config.md#process).

The order is the story: limits and scheduling while privileged, then the user, then the capabilities, then
no_new_privs; the seccomp program last if it may be (it needs no privilege with no_new_privs), else before the
privilege to load it goes.
"""

from __future__ import annotations

import os

from kist.linux import capabilities, seccomp
from kist.linux import process as p
from kist.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from kist.runtime.errors import SpecError, StepError
from kist.runtime.scheduling import IoPriority, MemoryPolicy, Personality, Rlimits, Scheduler, look_up
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Keyring(Step):
    __slots__ = ("name",)
    syscall = "keyctl(2)"
    why = "a session keyring of its own: the keys of whoever started it stay hidden"

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return "join a new session keyring"

    def run(self, ctx: Context) -> None:
        try:
            p.join_session_keyring(self.name)
        except OSError as error:
            if error.errno != 38:  # a kernel without keyrings has none to hide
                raise


class Label(Step):
    """AppArmor and SELinux take the label for the next execve(2) from /proc/self/attr (verified procfs)."""

    __slots__ = ("attribute", "label")
    syscall = "openat2(2), write(2)"
    why = "the label that the program will run under"

    def __init__(self, attribute: str, label: str) -> None:
        self.attribute = attribute
        self.label = label

    def describe(self) -> str:
        return f"set the label {self.label}"

    def run(self, ctx: Context) -> None:
        try:
            fd = ctx.proc.open(f"thread-self/attr/{self.attribute}", os.O_WRONLY)
        except FileNotFoundError:
            raise StepError(f"{self.describe()}: this kernel has no such security module", 2) from None
        try:
            text = f"exec {self.label}" if "apparmor" in self.attribute else self.label
            os.write(fd, text.encode())
        finally:
            os.close(fd)


class WorkingDirectory(Step):
    """By a descriptor that can't lead out (CVE-2024-21626: a cwd of /proc/self/fd/N)."""

    __slots__ = ("path",)
    syscall = "openat2(2), fchdir(2)"
    why = "process.cwd, checked to lie inside of the container"

    def __init__(self, path: str) -> None:
        if not path.startswith("/"):
            raise SpecError(f"process.cwd: {path!r} is not absolute")
        self.path = path

    def describe(self) -> str:
        return f"change to {self.path}"

    def run(self, ctx: Context) -> None:
        top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        fd = openat2(top, self.path, os.O_PATH | os.O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        os.fchdir(fd)
        os.close(fd)
        os.close(top)
        try:
            inside = os.getcwd().startswith("/")
        except FileNotFoundError:  # the kernel says "(unreachable)"
            inside = False
        if not inside:
            raise StepError(f"{self.describe()}: it lies outside of the container")


class MakeWorkingDirectory(Step):
    """While the root is still writable."""

    __slots__ = ("path",)
    syscall = "mkdirat(2)"
    why = "the working directory must be there"

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"make the working directory {self.path}"

    def run(self, ctx: Context) -> None:
        try:
            os.close(ctx.root.mkdirs(self.path))
        except OSError as error:
            if error.errno not in (30, 13):  # read-only: then it must be there, which the next step finds out
                raise


class User(Step):
    """Groups, then the group, then the user; capabilities are kept until they are set."""

    __slots__ = ("gid", "groups", "uid", "umask")
    syscall = "setgroups(2), setresgid(2), setresuid(2), umask(2)"
    why = "process.user"

    def __init__(self, user: dict[str, Any], *, keep_groups: bool = False) -> None:
        self.uid = user.get("uid") or 0
        self.gid = user.get("gid") or 0
        for value, word in ((self.uid, "uid"), (self.gid, "gid")):
            # A uid of -1 means "leave it alone" to setresuid(2): the process would stay root (CVE-2026-30892)
            if not isinstance(value, int) or not 0 <= value < (1 << 32) - 1:
                raise SpecError(f"process.user.{word}: {value!r} is not an id")
        self.groups = None if keep_groups else user.get("additionalGids") or []
        umask = user.get("umask")
        self.umask = 0o022 if umask is None else umask

    def describe(self) -> str:
        return f"become user {self.uid}:{self.gid}"

    def run(self, ctx: Context) -> None:
        os.umask(self.umask)
        try:
            if self.groups is not None:
                os.setgroups(self.groups)
        except OSError as error:
            # in a user namespace made without privilege setgroups(2) is denied: fine if none is asked for
            if error.errno != 1 or self.groups:
                raise
        p.prctl(p.PR_SET_KEEPCAPS, 1)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


class BoundingSet(Step):
    """Before the user changes: it takes CAP_SETPCAP."""

    __slots__ = ("keep",)
    syscall = "prctl(2) PR_CAPBSET_DROP"
    why = "what no program in here may ever gain, set-uid or not"

    def __init__(self, names: list[str]) -> None:
        self.keep = capabilities.mask(names)

    def describe(self) -> str:
        return f"bound the capabilities to {self.keep:#x}"

    def run(self, ctx: Context) -> None:
        for number in range(64):
            if not self.keep >> number & 1:
                try:
                    p.prctl(p.PR_CAPBSET_DROP, number)
                except OSError as error:
                    if error.errno == 22:  # beyond the kernel's last one
                        return
                    raise


class Capabilities(Step):
    __slots__ = ("ambient", "effective", "inheritable", "permitted")
    syscall = "capset(2), prctl(2) PR_CAP_AMBIENT"
    why = "process.capabilities: what the process may do beyond any user"

    def __init__(self, section: dict[str, Any]) -> None:
        self.effective, self.permitted, self.inheritable, self.ambient = (
            capabilities.mask(section.get(name) or [])
            for name in ("effective", "permitted", "inheritable", "ambient"))

    def describe(self) -> str:
        return f"keep the capabilities {self.effective:#x}"

    def run(self, ctx: Context) -> None:
        held = p.capget()[1]
        missing = self.permitted & ~held
        if missing:
            # the creator does not have them itself (an unprivileged host): as the peers, take what there is
            self.permitted &= held
            self.effective &= held
            self.inheritable &= held
            self.ambient &= held
        p.capset(self.effective & self.permitted, self.permitted, self.inheritable)
        p.prctl(p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_CLEAR_ALL)
        # The kernel takes an ambient capability only if it is permitted and inheritable. `runc spec` asks for ambient
        # ones that are not inheritable, and the peers pass over them.
        ambient = self.ambient & self.permitted & self.inheritable
        number = 0
        while ambient >> number:
            if ambient >> number & 1:
                p.prctl(p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_RAISE, number)
            number += 1


class NoNewPrivileges(Step):
    syscall = "prctl(2) PR_SET_NO_NEW_PRIVS"
    why = "set-uid programs give no privilege"

    def describe(self) -> str:
        return "set no_new_privs"

    def run(self, ctx: Context) -> None:
        p.prctl(p.PR_SET_NO_NEW_PRIVS, 1)


class Seccomp(Step):
    __slots__ = ("flags", "notify")
    syscall = "seccomp(2)"
    why = "the filter: every system call that is not on its list fails"

    def __init__(self, section: dict[str, Any]) -> None:
        self.flags = 0
        for flag in section.get("flags") or []:
            self.flags |= look_up(seccomp.FLAG, flag, "linux.seccomp.flags")
        self.notify = bool(section.get("listenerPath"))

    def describe(self) -> str:
        return "load the seccomp filter"

    def run(self, ctx: Context) -> None:
        if ctx.seccomp is None:
            raise StepError("load the seccomp filter: none was compiled")
        flags = self.flags | (seccomp.SECCOMP_FILTER_FLAG_NEW_LISTENER if self.notify else 0)
        if self.notify:
            flags &= ~seccomp.FLAG["SECCOMP_FILTER_FLAG_TSYNC"]
        result = seccomp.load(ctx.seccomp, flags)
        if self.notify:
            ctx.listener = result


def keeps_groups(spec: dict[str, Any]) -> bool:
    """crun(1): with this annotation (Podman's `--group-add keep-groups`) the process keeps the groups of whoever
    started it, for files on the machine that only a group may read."""
    return "run.oci.keep_original_groups" in (spec.get("annotations") or {})


def labels(process: dict[str, Any]) -> list[Step]:
    made: list[Step] = []
    if process.get("apparmorProfile"):
        made.append(Label("apparmor/exec", process["apparmorProfile"]))
    if process.get("selinuxLabel"):
        made.append(Label("exec", process["selinuxLabel"]))
    return made


def steps_for(process: dict[str, Any], linux: dict[str, Any], container_id: str, *,
              keyring: bool = True, keep_groups: bool = False) -> tuple[list[Step], list[Step]]:
    """(before the barrier, after it): everything that makes the process the user's, in order."""
    early: list[Step] = []
    if process.get("scheduler"):
        early.append(Scheduler(process["scheduler"]))
    if process.get("ioPriority"):
        early.append(IoPriority(process["ioPriority"]))
    if linux.get("memoryPolicy"):
        early.append(MemoryPolicy(linux["memoryPolicy"]))
    now, late = Rlimits(process.get("rlimits") or []).split()
    early += now
    if linux.get("personality"):
        early.append(Personality(linux["personality"]))
    if keyring:
        early.append(Keyring("_ses." + container_id))
    filter_section = linux.get("seccomp")
    no_new = bool(process.get("noNewPrivileges"))
    early.append(WorkingDirectory(process.get("cwd") or "/"))
    if filter_section and not no_new:
        early.append(Seccomp(filter_section))
    if process.get("capabilities") is not None:
        early.append(BoundingSet(process["capabilities"].get("bounding") or []))
    early.append(User(process.get("user") or {}, keep_groups=keep_groups))
    if process.get("capabilities") is not None:
        early.append(Capabilities(process["capabilities"]))
    if no_new:
        early.append(NoNewPrivileges())
    if filter_section and no_new:
        late.append(Seccomp(filter_section))
    return early, late
