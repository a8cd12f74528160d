"""Steps that say how the process is scheduled and bounded (runtime-spec 1.2, config.md#process, config-linux.md):
all of them while it is privileged still."""

from __future__ import annotations

import os

from kist.linux import process as p
from kist.linux.libc import prlimit
from kist.runtime.errors import SpecError
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RLIMITS = {"RLIMIT_" + name: number for number, name in enumerate((
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
    "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"))}
ENOUGH = 64  # descriptors, for whatever init and an exec have open
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


    def split(self) -> tuple[list[Step], list[Step]]:
        """(now, right before the program): with hardly a descriptor left, the steps in between could open none.
        Lowering a limit takes no privilege."""
        few = {kind: limit for kind, limit in self.limits.items() if kind == "RLIMIT_NOFILE" and limit[1] < ENOUGH}
        self.limits = {kind: limit for kind, limit in self.limits.items() if kind not in few}
        late = Rlimits([])
        late.limits = few
        return [self] if self.limits else [], [late] if few else []


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
