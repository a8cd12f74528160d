"""`run` and `create`: the options given → the body of POST /containers/create (Engine API v1.51).

Only what was given is sent: the server has the defaults. `COPIED` says where a value goes as it is; `MADE`
names the function in `container_values` that makes the value, imported only when such an option is given.
"""

from __future__ import annotations

from kist.cli.parser import CliError, see, usage_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.settings import Settings

    Body = dict[str, Any]

# option → part of the body, field
COPIED: dict[str, tuple[str, str]] = {
    "blkio-weight": ("HostConfig", "BlkioWeight"),
    "cgroup-parent": ("HostConfig", "CgroupParent"),
    "cgroupns": ("HostConfig", "CgroupnsMode"),
    "cidfile": ("HostConfig", "ContainerIDFile"),
    "cpu-period": ("HostConfig", "CpuPeriod"),
    "cpu-quota": ("HostConfig", "CpuQuota"),
    "cpu-rt-period": ("HostConfig", "CpuRealtimePeriod"),
    "cpu-rt-runtime": ("HostConfig", "CpuRealtimeRuntime"),
    "cpu-shares": ("HostConfig", "CpuShares"),
    "cpus": ("HostConfig", "NanoCpus"),
    "cpuset-cpus": ("HostConfig", "CpusetCpus"),
    "cpuset-mems": ("HostConfig", "CpusetMems"),
    "dns-option": ("HostConfig", "DnsOptions"),
    "domainname": ("", "Domainname"),
    "group-add": ("HostConfig", "GroupAdd"),
    "health-on-failure": ("HostConfig", "HealthOnFailure"),
    "hostname": ("", "Hostname"),
    "init": ("HostConfig", "Init"),
    "interactive": ("", "OpenStdin"),
    "ipc": ("HostConfig", "IpcMode"),
    "isolation": ("HostConfig", "Isolation"),
    "kernel-memory": ("HostConfig", "KernelMemory"),
    "memory": ("HostConfig", "Memory"),
    "memory-reservation": ("HostConfig", "MemoryReservation"),
    "memory-swap": ("HostConfig", "MemorySwap"),
    "oom-kill-disable": ("HostConfig", "OomKillDisable"),
    "oom-score-adj": ("HostConfig", "OomScoreAdj"),
    "pid": ("HostConfig", "PidMode"),
    "pids-limit": ("HostConfig", "PidsLimit"),
    "privileged": ("HostConfig", "Privileged"),
    "publish-all": ("HostConfig", "PublishAllPorts"),
    "read-only": ("HostConfig", "ReadonlyRootfs"),
    "rm": ("HostConfig", "AutoRemove"),
    "runtime": ("HostConfig", "Runtime"),
    "shm-size": ("HostConfig", "ShmSize"),
    "stop-signal": ("", "StopSignal"),
    "stop-timeout": ("", "StopTimeout"),
    "tty": ("", "Tty"),
    "user": ("", "User"),
    "userns": ("HostConfig", "UsernsMode"),
    "uts": ("HostConfig", "UTSMode"),
    "volume-driver": ("HostConfig", "VolumeDriver"),
    "volumes-from": ("HostConfig", "VolumesFrom"),
    "workdir": ("", "WorkingDir"),
}

# option → part of the body, field, function in container_values (the value → what is sent)
MADE: dict[str, tuple[str, str, str]] = {
    "add-host": ("HostConfig", "ExtraHosts", "extra_hosts"),
    "annotation": ("HostConfig", "Annotations", "pairs"),
    "blkio-weight-device": ("HostConfig", "BlkioWeightDevice", "device_weights"),
    "device-read-bps": ("HostConfig", "BlkioDeviceReadBps", "device_byte_rates"),
    "device-read-iops": ("HostConfig", "BlkioDeviceReadIOps", "device_rates"),
    "device-write-bps": ("HostConfig", "BlkioDeviceWriteBps", "device_byte_rates"),
    "device-write-iops": ("HostConfig", "BlkioDeviceWriteIOps", "device_rates"),
    "device-cgroup-rule": ("HostConfig", "DeviceCgroupRules", "device_rules"),
    "dns": ("HostConfig", "Dns", "addresses"),
    "dns-search": ("HostConfig", "DnsSearch", "domains"),
    "gpus": ("HostConfig", "DeviceRequests", "gpus"),
    "link": ("HostConfig", "Links", "links"),
    "memory-swappiness": ("HostConfig", "MemorySwappiness", "swappiness"),
    "mount": ("HostConfig", "Mounts", "mounts"),
    "network-rate": ("HostConfig", "NetworkRate", "network_rate"),
    "restart": ("HostConfig", "RestartPolicy", "restart_policy"),
    "storage-opt": ("HostConfig", "StorageOpt", "storage_options"),
    "sysctl": ("HostConfig", "Sysctls", "sysctls"),
    "tmpfs": ("HostConfig", "Tmpfs", "tmpfs"),
    "ulimit": ("HostConfig", "Ulimits", "ulimits"),
}

# Options of one theme: the function in container_values that adds them to the body.
THEMES: dict[str, str] = {
    "cap-add": "add_capabilities", "cap-drop": "add_capabilities",
    "device": "add_devices", "env-file": "add_environment",
    "expose": "add_ports", "publish": "add_ports",
    "health-cmd": "add_health", "health-interval": "add_health", "health-retries": "add_health",
    "health-start-interval": "add_health", "health-start-period": "add_health", "health-timeout": "add_health",
    "no-healthcheck": "add_health",
    "ip": "add_networks", "ip6": "add_networks", "link-local-ip": "add_networks", "mac-address": "add_networks",
    "network": "add_networks", "network-alias": "add_networks",
    "label": "add_labels", "label-file": "add_labels",
    "log-driver": "add_log", "log-opt": "add_log",
    "security-opt": "add_security",
    "volume": "add_volumes",
}

NETWORK = frozenset(name for name, theme in THEMES.items() if theme == "add_networks") - {"network"} | {"link"}

# Options that are about the client alone.
OWN = frozenset(("attach", "detach", "detach-keys", "entrypoint", "env", "name", "platform", "pull", "quiet",
                 "sig-proxy", "disable-content-trust", "use-api-socket"))

# Docker on Linux refuses these, too.
WINDOWS = ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops")


class BadValue(Exception):
    """A value that its option can't take."""

    def __init__(self, value: str, problem: str) -> None:
        super().__init__(problem)
        self.value = value


def container_body(args: Arguments, settings: Settings) -> Body:
    """The whole body. CliError (status 125) for values that make no sense."""
    if not args.words[0]:
        raise refusal(args, "invalid reference format")
    body: Body = {"Image": args.words[0]}
    if len(args.words) > 1:
        body["Cmd"] = args.words[1:]
    if args.given("entrypoint"):
        body["Entrypoint"] = [args.text("entrypoint")]
    _add_streams(body, args)
    _refuse(args)
    if args.given("env") and not args.given("env-file"):
        body["Env"] = environment(args.list("env"), settings, args)
    for name, value in args.values.items():
        place = COPIED.get(name)
        if place is not None:
            part(body, place[0])[place[1]] = value
        elif name == "network" and _is_plain(value) and not NETWORK.intersection(args.values):
            part(body, "HostConfig")["NetworkMode"] = value[0]  # the plain case needs no further module
        elif name not in OWN:
            _add_made(body, name, value, args, settings)
    if settings.docker_has(b'"proxies"'):  # hardly ever: no further module is loaded then
        from kist.cli.proxies import variables

        body["Env"] = [*body.get("Env", ()), *variables(settings, args.list("env"))]
    return body


def container_part(args: Arguments, names: tuple[str, ...], settings: Settings) -> Body:
    """The part of a body that these options make, for other commands than `run` that take them."""
    body: Body = {}
    for name in names:
        if args.given(name):
            if name == "env" and not args.given("env-file"):
                body["Env"] = environment(args.list("env"), settings, args)
            elif name not in OWN and name not in COPIED:
                _add_made(body, name, args.values[name], args, settings)
    return body


def part(body: Body, name: str) -> Body:
    """The body itself, or one of its parts, made when needed."""
    if not name:
        return body
    found: Body = body.setdefault(name, {})
    return found


def _add_streams(body: Body, args: Arguments) -> None:
    """Which streams a client attaches to: those told by -a, else output, and input with -i."""
    named = [word.lower() for word in args.list("attach")]
    for word in named:
        if word not in ("stdin", "stdout", "stderr"):
            raise bad_value(args, "attach", word, "valid streams are STDIN, STDOUT and STDERR")
    if args.flag("detach"):
        if named:
            raise CliError("conflicting options: cannot specify both --attach and --detach")
        return
    for stream in named or ("stdout", "stderr"):
        body["Attach" + stream.capitalize()] = True
    if args.flag("interactive"):
        body["AttachStdin"] = body["StdinOnce"] = True


def _is_plain(networks: list[str]) -> bool:
    """One network, and nothing but its name."""
    return len(networks) == 1 and bool(networks[0]) and "=" not in networks[0]


# option → what Docker's client calls it, the words it may be (a trailing colon: with something behind it)
_WORDS = {"pid": ("PID", ("", "host", "container:")), "uts": ("UTS", ("", "host")), "userns": ("USER", ("", "host")),
          "cgroupns": ("CGROUP", ("", "host", "private"))}


def _refuse(args: Arguments) -> None:
    for name in args.values.keys() & _WORDS:
        kind, known = _WORDS[name]
        word, colon, rest = args.text(name).partition(":")
        if word + colon not in known or bool(colon) != bool(rest):
            raise problem(args, f"--{name}: invalid {kind} mode")
    for name in WINDOWS:
        if args.given(name):
            raise CliError(f'"--{name}" is only supported on a Docker daemon running on windows, but the Kist daemon '
                           "is running on linux")
    if not args.flag("disable-content-trust"):
        raise problem(args, "--disable-content-trust=false is not supported: there is no notary to ask")
    if args.flag("rm") and args.text("restart") not in ("", "no"):
        raise problem(args, "conflicting options: cannot specify both --restart and --rm")


def environment(given: list[str], settings: Settings, args: Arguments) -> list[str]:
    """`NAME=value` as it is; a bare `NAME` has the value that it has here (if none, the server unsets it)."""
    result = []
    for word in given:
        name, mark, _ = word.partition("=")
        if not name:
            raise bad_value(args, "env", word, f"invalid environment variable: {word}")
        if mark:
            result.append(word)
        else:
            value = settings.variable(name)
            if value is None and not (name.isascii() and name.isidentifier()):
                try:
                    value = settings.dropped(name)
                except KeyError:
                    raise bad_value(args, "env", word,
                                    f"no variable of such a name gets here: write {name}=VALUE") from None
            result.append(name if value is None else f"{name}={value}")
    return result


def _add_made(body: Body, name: str, value: Any, args: Arguments, settings: Settings) -> None:
    from kist.cli import container_values

    try:
        if name in MADE:
            where, field, maker = MADE[name]
            part(body, where)[field] = getattr(container_values, maker)(value)
        elif name in THEMES:
            getattr(container_values, THEMES[name])(body, args, settings)
        else:
            raise problem(args, f"--{name} is not supported")
    except BadValue as bad:
        raise bad_value(args, name, bad.value, str(bad)) from None
    except ValueError as error:
        raise problem(args, str(error)) from None


def problem(args: Arguments, text: str) -> CliError:
    return CliError(f"kist: {text}\n\n{see(args.path)}", 125)


def refusal(args: Arguments, text: str) -> CliError:
    """What is found behind the options: `create` says no more than the text."""
    return CliError(text) if args.path.endswith(" create") else problem(args, text)


def bad_value(args: Arguments, name: str, value: str, text: str) -> CliError:
    short = next(row[1] for row in args.command.options if row[0] == name)
    shown = f"-{short}, --{name}" if short else f"--{name}"
    return CliError(f'invalid argument "{value}" for "{shown}" flag: {text}\n\n'
                    f"{usage_line(args.path, args.command)}\n\n{see(args.path)}", 125)
