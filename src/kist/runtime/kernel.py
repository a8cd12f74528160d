"""Steps that set what the kernel keeps per namespace: host name, domain name, sysctl."""

from __future__ import annotations

import os

from kist.linux.namespaces import setdomainname, sethostname, unshare
from kist.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from kist.linux.statfs import PROC_SUPER_MAGIC, magic
from kist.runtime.errors import SpecError, StepError
from kist.runtime.step import Context, Step

# Keys that belong to a namespace, by its kind (runc's list; sysctl(7), namespaces(7)).
_IPC = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
        "kernel.shmmni", "kernel.shm_rmid_forced"}
_UTS = {"kernel.domainname": "domainname", "kernel.hostname": "hostname"}


class JoinCgroupNamespace(Step):
    syscall = "unshare(2)"
    why = "the container's own control group is / for it"

    def describe(self) -> str:
        return "unshare the cgroup namespace"

    def run(self, ctx: Context) -> None:
        unshare(0x2000000)


class Hostname(Step):
    __slots__ = ("name",)
    syscall = "sethostname(2)"
    why = "the container's own name, in its uts namespace"

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return f"set the host name {self.name}"

    def run(self, ctx: Context) -> None:
        sethostname(self.name)


class Domainname(Step):
    __slots__ = ("name",)
    syscall = "setdomainname(2)"
    why = "the container's own domain name, in its uts namespace"

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return f"set the domain name {self.name}"

    def run(self, ctx: Context) -> None:
        setdomainname(self.name)


def sysctl_path(key: str) -> str:
    """net.ipv4.ip_forward or net/ipv4/ip_forward → sys/net/ipv4/ip_forward; in a key with slashes the dots
    are part of a name (interface eth0.1), as sysctl(8) has it."""
    path = key if "/" in key and (("." not in key) or key.index("/") < key.index(".")) else key.replace(".", "/")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise SpecError(f"linux.sysctl: invalid key {key!r}")
    return "sys/" + path


def check_sysctl(key: str, private: set[str]) -> None:
    """Only keys of a namespace that the container has for itself (config-linux.md#sysctl): the others are
    settings of the whole machine."""
    name = sysctl_path(key)[4:].replace("/", ".")
    if name in _IPC or name.startswith("fs.mqueue."):
        needs = "ipc"
    elif name.startswith("net."):
        needs = "network"
    elif name in _UTS:
        needs = "uts"
        if name == "kernel.hostname":
            raise SpecError(f"linux.sysctl: {key}: use the hostname field")
    elif name.startswith("user."):
        needs = "user"
    else:
        raise SpecError(f"linux.sysctl: {key} is not in a separate kernel namespace")
    if needs not in private:
        raise SpecError(f"linux.sysctl: {key} is not allowed in the host's {needs} namespace")


class Sysctl(Step):
    __slots__ = ("key", "path", "value")
    syscall = "openat2(2), write(2)"
    why = "a kernel setting of the container's own namespaces"

    def __init__(self, key: str, value: str) -> None:
        self.key = key
        self.path = sysctl_path(key)
        self.value = value

    def describe(self) -> str:
        return f"set sysctl {self.key}={self.value}"

    def run(self, ctx: Context) -> None:
        """Through the host's procfs, which was verified: the namespaces are those of who opens the file. The
        file itself is verified too: nothing may be mounted over it (CVE-2025-52881)."""
        fd = openat2(ctx.proc.fd, self.path, os.O_WRONLY, 0,
                     RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
        try:
            if magic(fd) != PROC_SUPER_MAGIC:
                raise StepError(f"{self.describe()}: not a file of procfs")
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)
