"""Steps that turn init (or a forked helper) into the process of the user (runtime-spec 1.2, config.md#process).

The order is the story: limits and scheduling while privileged, then the user, then the capabilities, then
no_new_privs; the seccomp program last if it may be (it needs no privilege with no_new_privs), else before the
privilege to load it goes.
"""

from __future__ import annotations

import os

from kist.linux import capabilities, seccomp
from kist.linux import process as p
from kist.linux.libc import prlimit
from kist.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from kist.runtime.errors import SpecError, StepError
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RLIMITS = {"RLIMIT_" + name: number for number, name in enumerate((
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
    "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"))}
POLICY = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5,
          "SCHED_DEADLINE": 6}
SCHED_FLAG = {"SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
              "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
              "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40}
IOPRIO = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
PERSONA = {"LINUX": 0x0, "LINUX32": 0x8}
MEMORY_POLICY = {"MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
                 "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6}
MEMORY_FLAG = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14,
               "MPOL_F_STATIC_NODES": 1 << 15}


def look_up(table: dict[str, int], name: str, where: str) -> int:
    try:
        return table[name]
    except KeyError:
        raise SpecError(f"{where}: unknown value {name!r}") from None


class OomScore(Step):
    __slots__ = ("value",)
    syscall = "openat2(2), write(2)"
    why = "how likely the kernel picks this process when memory runs out"

    def __init__(self, value: int) -> None:
        self.value = value

    def describe(self) -> str:
        return f"set oom_score_adj to {self.value}"

    def run(self, ctx: Context) -> None:
        fd = ctx.proc.open("self/oom_score_adj", os.O_WRONLY)
        try:
            os.write(fd, str(self.value).encode())
        finally:
            os.close(fd)


class Rlimits(Step):
    __slots__ = ("limits",)
    syscall = "prlimit(2)"
    why = "the process's resource limits"

    def __init__(self, rlimits: list[dict[str, Any]]) -> None:
        self.limits: dict[str, tuple[int, int, int]] = {}
        for entry in rlimits:
            kind = entry["type"]
            if kind in self.limits:
                raise SpecError(f"process.rlimits: {kind} is there twice")
            number = look_up(RLIMITS, kind, "process.rlimits")
            if entry["soft"] > entry["hard"]:
                raise SpecError(f"process.rlimits: {kind}: soft is above hard")
            self.limits[kind] = (number, entry["soft"], entry["hard"])

    def describe(self) -> str:
        return "limit " + ", ".join(f"{kind[7:].lower()}" for kind in self.limits)

    def run(self, ctx: Context) -> None:
        for kind, (number, soft, hard) in self.limits.items():
            try:
                prlimit(number, soft, hard)
            except OSError as error:
                raise OSError(error.errno, f"{kind} to {soft}:{hard}") from None


class Scheduler(Step):
    __slots__ = ("arguments", "policy")
    syscall = "sched_setattr(2)"
    why = "process.scheduler"

    def __init__(self, section: dict[str, Any]) -> None:
        self.policy = section["policy"]
        flags = 0
        for flag in section.get("flags") or []:
            flags |= look_up(SCHED_FLAG, flag, "process.scheduler.flags")
        number = look_up(POLICY, self.policy, "process.scheduler.policy")
        self.arguments = (number, {"flags": flags, "nice": section.get("nice") or 0,
                                   "priority": section.get("priority") or 0,
                                   "runtime": section.get("runtime") or 0,
                                   "deadline": section.get("deadline") or 0,
                                   "period": section.get("period") or 0})

    def describe(self) -> str:
        return f"schedule as {self.policy}"

    def run(self, ctx: Context) -> None:
        number, arguments = self.arguments
        p.sched_setattr(number, **arguments)


class IoPriority(Step):
    __slots__ = ("klass", "name", "priority")
    syscall = "ioprio_set(2)"
    why = "process.ioPriority"

    def __init__(self, section: dict[str, Any]) -> None:
        self.name = section["class"]
        self.klass = look_up(IOPRIO, self.name, "process.ioPriority.class")
        self.priority = section.get("priority") or 0

    def describe(self) -> str:
        return f"set the I/O priority to {self.name} {self.priority}"

    def run(self, ctx: Context) -> None:
        p.ioprio_set(self.klass, self.priority)


class Affinity(Step):
    __slots__ = ("cpus",)
    syscall = "sched_setaffinity(2)"
    why = "process.execCPUAffinity"

    def __init__(self, cpus: str) -> None:
        self.cpus = cpus

    def describe(self) -> str:
        return f"run on the CPUs {self.cpus}"

    def run(self, ctx: Context) -> None:
        os.sched_setaffinity(0, cpu_list(self.cpus))


def cpu_list(text: str) -> set[int]:
    """"0-3,7" (cpuset(7), List format)."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            cpus.update(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise SpecError(f"{text!r} is not a list of CPUs") from None
    return cpus


class Personality(Step):
    __slots__ = ("domain",)
    syscall = "personality(2)"
    why = "linux.personality"

    def __init__(self, section: dict[str, Any]) -> None:
        self.domain = section["domain"]
        look_up(PERSONA, self.domain, "linux.personality.domain")
        if section.get("flags"):
            raise SpecError("linux.personality.flags: no flag is defined")

    def describe(self) -> str:
        return f"set the personality {self.domain}"

    def run(self, ctx: Context) -> None:
        p.personality(PERSONA[self.domain])


class MemoryPolicy(Step):
    __slots__ = ("mode", "nodes", "number")
    syscall = "set_mempolicy(2)"
    why = "linux.memoryPolicy"

    def __init__(self, section: dict[str, Any]) -> None:
        self.mode = section["mode"]
        self.number = look_up(MEMORY_POLICY, self.mode, "linux.memoryPolicy.mode")
        for flag in section.get("flags") or []:
            self.number |= look_up(MEMORY_FLAG, flag, "linux.memoryPolicy.flags")
        self.nodes = sorted(cpu_list(section["nodes"])) if section.get("nodes") else []

    def describe(self) -> str:
        return f"set the memory policy {self.mode}"

    def run(self, ctx: Context) -> None:
        p.set_mempolicy(self.number, self.nodes)


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

    def __init__(self, user: dict[str, Any]) -> None:
        self.uid = user.get("uid") or 0
        self.gid = user.get("gid") or 0
        for value, word in ((self.uid, "uid"), (self.gid, "gid")):
            # A uid of -1 means "leave it alone" to setresuid(2): the process would stay root (CVE-2026-30892)
            if not isinstance(value, int) or not 0 <= value < (1 << 32) - 1:
                raise SpecError(f"process.user.{word}: {value!r} is not an id")
        self.groups = user.get("additionalGids") or []
        umask = user.get("umask")
        self.umask = 0o022 if umask is None else umask

    def describe(self) -> str:
        return f"become user {self.uid}:{self.gid}"

    def run(self, ctx: Context) -> None:
        os.umask(self.umask)
        try:
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


def labels(process: dict[str, Any]) -> list[Step]:
    made: list[Step] = []
    if process.get("apparmorProfile"):
        made.append(Label("apparmor/exec", process["apparmorProfile"]))
    if process.get("selinuxLabel"):
        made.append(Label("exec", process["selinuxLabel"]))
    return made


def steps_for(process: dict[str, Any], linux: dict[str, Any], container_id: str, *,
              keyring: bool = True) -> tuple[list[Step], list[Step]]:
    """(before the barrier, after it): everything that makes the process the user's, in order."""
    early: list[Step] = []
    if process.get("scheduler"):
        early.append(Scheduler(process["scheduler"]))
    if process.get("ioPriority"):
        early.append(IoPriority(process["ioPriority"]))
    if linux.get("memoryPolicy"):
        early.append(MemoryPolicy(linux["memoryPolicy"]))
    if process.get("rlimits"):
        early.append(Rlimits(process["rlimits"]))
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
    early.append(User(process.get("user") or {}))
    if process.get("capabilities") is not None:
        early.append(Capabilities(process["capabilities"]))
    if no_new:
        early.append(NoNewPrivileges())
    late: list[Step] = [Seccomp(filter_section)] if filter_section and no_new else []
    return early, late
