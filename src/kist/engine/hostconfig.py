"""A create request's HostConfig: defaults filled in, checked, and what Kist can't honour refused.

Nothing that a user asks for is dropped in silence: a field is honoured, or `REFUSED` says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kist.api import bodies
from kist.engine import logdrivers, rates, storageopt
from kist.engine.config import Config
from kist.engine.limits import Machine, check_limits
from kist.engine.spec import capabilities, device_rule, security_options
from kist.engine.spec.defaults import MASKED_PATHS, READONLY_PATHS
from kist.engine.spec.seccomp import parse_profile
from kist.errors import InvalidParameter, KistError, NotSupported

Json = dict[str, Any]
RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
RUNTIMES = ("kist",)
ON_FAILURE = "kist.health-on-failure"  # the annotation by which Docker's clients can say it

_Asked = Callable[[Any], bool]

# HostConfig field -> (asked for something that Kist does not do?, error, text).
REFUSED: dict[str, tuple[_Asked, type[KistError], str]] = {
    "UsernsMode": (lambda v: v not in ("", "host"), InvalidParameter, "invalid userns mode: {value}"),
    "Isolation": (lambda v: v not in ("", "default"), InvalidParameter,
                  'Invalid isolation: "{value}" - linux only supports \'default\''),
    "Runtime": (lambda v: v not in ("", *RUNTIMES), InvalidParameter,
                "unknown or invalid runtime name: {value}"),
    "Cgroup": (bool, NotSupported, "HostConfig.Cgroup is not supported"),
    "CpuCount": (bool, InvalidParameter, "CpuCount is a Windows-only setting"),
    "CpuPercent": (bool, InvalidParameter, "CpuPercent is a Windows-only setting"),
    "IOMaximumIOps": (bool, InvalidParameter, "IOMaximumIOps is a Windows-only setting"),
    "IOMaximumBandwidth": (bool, InvalidParameter, "IOMaximumBandwidth is a Windows-only setting"),
    "KernelMemoryTCP": (bool, NotSupported, "kernel TCP memory limits are not supported (removed from Linux)"),
}
# Docker takes no notice of kernel memory either since API v1.42, nor shows it; TCP's is refused above.
GONE = ("KernelMemory", "KernelMemoryTCP")
_MODES: dict[str, tuple[frozenset[str], str]] = {
    "PidMode": (frozenset({"", "host", "container"}), "invalid PID mode: {value}"),
    "IpcMode": (frozenset({"", "none", "private", "shareable", "host", "container"}),
                "invalid IPC mode: {value}"),
    "UTSMode": (frozenset({"", "host"}), "invalid UTS mode: {value}"),
    "CgroupnsMode": (frozenset({"", "private", "host"}), "invalid cgroup namespace mode: {value}"),
}


def normalize(body: bodies.HostConfig | None, config: Config, machine: Machine,
              warnings: list[str] | None = None) -> Json:
    """HostConfig as it is recorded and shown by inspect: every field there, everything checked. What the kernel can't
    do and Docker drops is dropped, and `warnings` says so."""
    host: Json = msgspec.to_builtins(body or bodies.HostConfig())
    for field, (asked, error, text) in REFUSED.items():
        if asked(host[field]):
            raise error(text.format(value=host[field]))
    _check_devices(host["DeviceRequests"] or ())
    for field, (modes, text) in _MODES.items():
        if host[field].partition(":")[0] not in modes or (host[field] == "container:" and field != "IpcMode"):
            raise InvalidParameter(text.format(value=host[field]))
    _drop(host, machine, [] if warnings is None else warnings)
    check_limits(host, machine)
    for field in GONE:
        del host[field]
    _fill(host, config)
    rates.normalize(host)
    storageopt.size(host)
    check_restart(host)
    _check_security(host, machine)
    logdrivers.check(host["LogConfig"])
    return host


def _check_devices(requests: Sequence[Json]) -> None:
    """There are no device drivers here (GPUs, CDI): the words are those of a Docker without any."""
    for request in requests:
        kinds = " ".join(f"[{' '.join(names)}]" for names in request["Capabilities"] or ())
        raise NotSupported(f'could not select device driver "{request["Driver"]}" with capabilities: [{kinds}]')


def _drop(host: Json, machine: Machine, warnings: list[str]) -> None:
    """moby: verifyPlatformContainerResources."""
    if host["KernelMemory"]:
        warnings.append("Your kernel has no limit of kernel memory. Limit discarded.")
    if machine.block_weights:
        return
    if host["BlkioWeight"]:
        warnings.append("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
        host["BlkioWeight"] = 0
    if host["BlkioWeightDevice"]:
        warnings.append("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
                        "Weight-device discarded.")
        host["BlkioWeightDevice"] = []


def _fill(host: Json, config: Config) -> None:
    """The daemon's defaults for what the user left open (the same that Docker's inspect shows)."""
    host["NetworkMode"] = host["NetworkMode"] if host["NetworkMode"] not in ("", "default") else "bridge"
    host["IpcMode"] = host["IpcMode"] or "private"
    host["CgroupnsMode"] = host["CgroupnsMode"] or ("host" if host["Privileged"] else "private")
    host["Runtime"] = host["Runtime"] or RUNTIMES[0]
    host["ShmSize"] = host["ShmSize"] or config.shm_size
    host["RestartPolicy"] = host["RestartPolicy"] or {"Name": "no", "MaximumRetryCount": 0}
    host["RestartPolicy"]["Name"] = host["RestartPolicy"]["Name"] or "no"
    host["LogConfig"] = _log_config(host["LogConfig"], config)
    host["HealthOnFailure"] = (host["HealthOnFailure"] or (host["Annotations"] or {}).get(ON_FAILURE, "")) \
        .removeprefix("none")
    host["ConsoleSize"] = host["ConsoleSize"] or [0, 0]
    host["PortBindings"] = host["PortBindings"] or {}
    for field in ("Dns", "DnsOptions", "DnsSearch", "BlkioWeightDevice", "Devices", "Ulimits"):
        host[field] = host[field] or []
    if host["Memory"] and not host["MemorySwap"]:
        host["MemorySwap"] = host["Memory"] * 2
    if host["MemorySwappiness"] == -1:
        host["MemorySwappiness"] = None
    if host["PidsLimit"] is not None and host["PidsLimit"] <= 0:
        host["PidsLimit"] = None
    for field, paths in (("MaskedPaths", MASKED_PATHS), ("ReadonlyPaths", READONLY_PATHS)):
        if host[field] is None:
            host[field] = None if host["Privileged"] else list(paths)
        elif host["Privileged"]:
            host[field] = None


def _log_config(asked: Json | None, config: Config) -> Json:
    """Bounded by default: Docker's default log fills the disk."""
    kind = (asked or {}).get("Type") or config.log_driver
    given = dict((asked or {}).get("Config") or {})
    return {"Type": kind, "Config": given}


def check_restart(host: Json) -> None:
    policy = host["RestartPolicy"]
    name, count = policy["Name"], policy["MaximumRetryCount"]
    if name not in RESTART_POLICIES:
        raise InvalidParameter(f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', "
                               "'on-failure', or 'unless-stopped'")
    if name != "on-failure" and count != 0:
        raise InvalidParameter("invalid restart policy: maximum retry count can only be used with 'on-failure'"
                               + (" and cannot be negative" if count < 0 else ""))
    if count < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")
    if host["AutoRemove"] and name != "no":
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")


def _check_security(host: Json, machine: Machine) -> None:
    for option in host["SecurityOpt"] or () if machine.selinux else ():
        if option.startswith("label") and option[6:] != "disable":
            raise NotSupported(f'invalid --security-opt 2: "{option}": Kist sets no SELinux labels')
    host["CapAdd"] = capabilities.normalize(host["CapAdd"], "CapAdd") or host["CapAdd"]
    host["CapDrop"] = capabilities.normalize(host["CapDrop"], "CapDrop") or host["CapDrop"]
    shared = host["Privileged"] or "host" in (host["PidMode"], host["IpcMode"])
    if shared and not any(option.startswith("label") for option in host["SecurityOpt"] or ()):
        host["SecurityOpt"] = [*(host["SecurityOpt"] or ()), "label=disable"]  # moby: generateSecurityOpt
    options = security_options(host["SecurityOpt"])
    if options.seccomp not in (None, "unconfined"):
        parse_profile(options.seccomp or "")
    for rule in host["DeviceCgroupRules"] or ():
        device_rule(rule)
    for name in host["Sysctls"] or ():
        _check_sysctl(name, host)


def _check_sysctl(name: str, host: Json) -> None:
    """Only sysctls that a namespace of the container's own holds (runc's rule, so that no host one is set)."""
    ipc = name in ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
                   "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced") or name.startswith("fs.mqueue.")
    if name.startswith("net.") and "/" not in name:
        if host["NetworkMode"] == "host":
            raise InvalidParameter(f'sysctl "{name}" not allowed in host network namespace')
    elif ipc:
        if host["IpcMode"] == "host":
            raise InvalidParameter(f'sysctl "{name}" not allowed in host ipc namespace')
    else:
        raise InvalidParameter(f'sysctl "{name}" is not in a separate kernel namespace')
