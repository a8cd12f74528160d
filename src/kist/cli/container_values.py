"""Option values of `run` and `create` that need taking apart. Pure but for the files that options name.

Functions raise ValueError for what makes no sense, BadValue where the offending word is to be shown.
"""

from __future__ import annotations

import os

from kist.cli.container_body import BadValue, environment, part
from kist.cli.labels import labels
from kist.cli.values import integer, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.settings import Settings

    Body = dict[str, Any]

ULIMITS = frozenset(("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
                     "rss", "rtprio", "rttime", "sigpending", "stack"))


# Kernel parameters that belong to a namespace, beside net.* and fs.mqueue.*
SYSCTLS = frozenset(("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
                     "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"))


def is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def addresses(values: list[str]) -> list[str]:
    for value in values:
        if not is_address(value):
            raise BadValue(value, f"IP address is not correctly formatted: {value}")
    return values


def extra_hosts(values: list[str]) -> list[str]:
    """`name:address` or `name=address`; `host-gateway` is the host as the container sees it."""
    result = []
    for value in values:
        name, mark, address = value.partition("=") if "=" in value else value.partition(":")
        if not mark or not name:
            raise BadValue(value, f'bad format for add-host: "{value}"')
        bare = address[1:-1] if address[:1] == "[" and address[-1:] == "]" else address
        if bare != "host-gateway" and not is_address(bare):
            raise BadValue(value, f'invalid IP address in add-host: "{bare}"')
        result.append(f"{name}:{bare}")
    return result


def pairs(values: list[str]) -> dict[str, str]:
    """`key=value` words as a mapping; a bare key has an empty value."""
    return {key: value for key, _, value in (word.partition("=") for word in values)}


def network_rate(value: str) -> dict[str, int]:
    from kist.api import rates

    try:
        return rates.network_rate(value)
    except ValueError as error:
        raise BadValue(value, str(error)) from None


def storage_options(values: list[str]) -> dict[str, str]:
    if any("=" not in value for value in values):
        raise ValueError("invalid storage option")
    return pairs(values)


def sysctls(values: list[str]) -> dict[str, str]:
    for value in values:
        key, mark, _ = value.partition("=")
        if not mark or not (key in SYSCTLS or key.startswith(("net.", "fs.mqueue."))):
            raise BadValue(value, f"sysctl '{value}' is not allowed")
    return pairs(values)


def tmpfs(values: list[str]) -> dict[str, str]:
    return {path: options for path, _, options in (value.partition(":") for value in values)}


def swappiness(value: int) -> int:
    if not -1 <= value <= 100:
        raise ValueError(f"invalid value: {value}. Valid memory swappiness range is 0-100")
    return value


def restart_policy(value: str) -> Body:
    """`no`, `always`, `unless-stopped`, `on-failure[:n]`."""
    name, mark, count = value.partition(":")
    if not name and mark:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    policy: Body = {"Name": name}
    if mark:
        if not count.removeprefix("-").isdigit():
            raise ValueError("invalid restart policy format: maximum retry count must be an integer")
        policy["MaximumRetryCount"] = int(count)
    return policy


def ulimits(values: list[str]) -> list[Body]:
    result = {}
    for value in values:
        name, mark, limits = value.partition("=")
        if not mark:
            raise BadValue(value, f"invalid ulimit argument: {value}")
        if name not in ULIMITS:
            raise BadValue(value, f"invalid ulimit type: {name}")
        soft, mark, hard = limits.partition(":")
        try:
            lower = int(soft)
            upper = int(hard) if mark else lower
        except ValueError:
            raise BadValue(value, f'strconv.ParseInt: parsing "{limits}": invalid syntax') from None
        if upper != -1 and (lower > upper or lower == -1):
            raise BadValue(value, "ulimit soft limit must be less than or equal to hard limit: "
                                  f"{lower} > {upper}")
        result[name] = {"Name": name, "Hard": upper, "Soft": lower}
    return [result[name] for name in sorted(result)]


def _device_value(value: str) -> tuple[str, str]:
    path, mark, rest = value.rpartition(":")
    if not mark:
        raise BadValue(value, f"bad format: {value}")
    if not path.startswith("/dev/"):
        raise BadValue(value, f"bad format for device path: {value}")
    return path, rest


def device_weights(values: list[str]) -> list[Body]:
    result = []
    for value in values:
        path, text = _device_value(value)
        if not text.isdigit() or (int(text) and not 10 <= int(text) <= 1000):
            raise BadValue(value, f"invalid weight for device: {value}")
        result.append({"Path": path, "Weight": int(text)})
    return result


def device_rates(values: list[str]) -> list[Body]:
    result = []
    for value in values:
        path, text = _device_value(value)
        if not text.isdigit():
            raise BadValue(value, f"invalid rate for device: {value}. The correct format is "
                                  "<device-path>:<number>. Number must be a positive integer")
        result.append({"Path": path, "Rate": int(text)})
    return result


def device_byte_rates(values: list[str]) -> list[Body]:
    result = []
    for value in values:
        path, text = _device_value(value)
        try:
            result.append({"Path": path, "Rate": size(text)})
        except ValueError:
            raise BadValue(value, f"invalid rate for device: {value}. The correct format is "
                                  "<device-path>:<number>[<unit>]. Number must be a positive integer. "
                                  "Unit is optional and can be kb, mb, or gb") from None
    return result


def csv_fields(text: str) -> list[str]:
    """One line of comma-separated values; quotes keep commas together. BadValue where a quote isn't closed."""
    fields, field, quoted = [], "", False
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += letter
    if quoted:
        raise BadValue(text, f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
    return [*fields, field]


def links(values: list[str]) -> list[str]:
    """`name:alias` or `name`."""
    for value in values:
        name, mark, alias = value.partition(":")
        if not value:
            raise BadValue(value, "empty string specified for links")
        if not name or ":" in alias or (mark and not alias):
            raise BadValue(value, f"bad format for links: {value}")
    return values


def gpus(values: list[str]) -> list[Body]:
    """`all`, a number, or `count=…,device=…,capabilities=…,driver=…`."""
    return [_gpu_request(value) for value in values]


def _gpu_request(value: str) -> Body:
    request: Body = {"Count": 1, "Capabilities": [["gpu"]]}
    for field in csv_fields(value):
        key, mark, text = field.partition("=")
        if not mark:
            key, text = "count", field
        if key == "count":
            request["Count"] = -1 if text == "all" else _number(text, value)
        elif key == "device":
            request["DeviceIDs"] = text.split(",")
            request.pop("Count", None)
        elif key == "capabilities":
            request["Capabilities"] = [[*text.split(","), "gpu"]]
        elif key == "driver":
            request["Driver"] = text
        else:
            raise BadValue(value, f"unexpected key '{key}' in '{field}'")
    return request


def _number(text: str, value: str) -> int:
    try:
        return integer(text)
    except ValueError:
        raise BadValue(value, f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
                       ) from None


def add_capabilities(body: Body, args: Arguments, _settings: Settings) -> None:
    """Names in one form, sorted."""
    for option, field in (("cap-add", "CapAdd"), ("cap-drop", "CapDrop")):
        names = _capabilities(args.list(option))
        if names:
            part(body, "HostConfig")[field] = sorted(names)


def _capabilities(names: list[str]) -> set[str]:
    upper = {name.strip().upper() for name in names}
    if "ALL" in upper:
        return {"ALL"}
    return {name if name.startswith("CAP_") else f"CAP_{name}" for name in upper}


RULE = ("a", "b", "c")


def device_rules(values: list[str]) -> list[str]:
    """`c 1:3 rwm`"""
    for value in values:
        kind, _, rest = value.partition(" ")
        numbers, _, mode = rest.partition(" ")
        major, colon, minor = numbers.partition(":")
        if kind not in RULE or not colon or not all(one == "*" or one.isdigit() for one in (major, minor)) \
                or not 1 <= len(mode) <= 3 or set(mode) - set("rwm"):
            raise BadValue(value, f"invalid device cgroup format '{value}'")
    return values


def domains(values: list[str]) -> list[str]:
    """Search domains; a lone dot is the root."""
    found = []
    for value in values:
        name = value.strip()
        labels = name.removesuffix(".").split(".")
        if name != "." and (not set(name) & LETTERS or not all(map(_is_label, labels))):
            raise BadValue(value, f"{value} is not a valid domain")
        found.append(name if name == "." else name.removesuffix("."))
    return found


def _is_label(text: str) -> bool:
    return text != "" and text == text.strip("-") and not set(text) - LETTERS - set("0123456789-")


LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def add_devices(body: Body, args: Arguments, _settings: Settings) -> None:
    """Device nodes, and names of the Container Device Interface (vendor/class=name)."""
    host = part(body, "HostConfig")
    for value in args.list("device"):
        if "=" in value and "/" in value.partition("=")[0] and not value.startswith("/"):
            requests = host.setdefault("DeviceRequests", [])
            if not requests or requests[-1].get("Driver") != "cdi":
                requests.append({"Driver": "cdi", "DeviceIDs": []})
            requests[-1]["DeviceIDs"].append(value)
            continue
        host.setdefault("Devices", []).append(_device(value))


def _device(value: str) -> Body:
    """`path[:path][:mode]`"""
    words = value.split(":")
    if len(words) > 3 or not words[0]:
        raise ValueError(f"bad format for path: {value}")
    source, inside, mode = words[0], words[0], "rwm"
    if len(words) == 3:
        inside, mode = words[1], words[2]
        if not _is_device_mode(mode):
            raise ValueError(f"bad mode specified: {mode}")
    elif len(words) == 2:
        inside, mode = (source, words[1]) if _is_device_mode(words[1]) else (words[1], mode)
    for path in (source, inside):
        if not path.startswith("/"):
            raise ValueError(f"{path} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": inside, "CgroupPermissions": mode}


def _is_device_mode(text: str) -> bool:
    return text != "" and not set(text) - set("rwm") and len(set(text)) == len(text)


def read_pairs(paths: list[str]) -> list[str]:
    """The lines of files of `KEY=value`; blank lines and those with # are left out."""
    lines = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise ValueError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path}: invalid utf8 bytes") from None
        for line in text.removeprefix("\ufeff").splitlines():
            line = line.lstrip()
            if not line or line.startswith("#"):
                continue
            name = line.partition("=")[0]
            if not name:
                raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
            if name.rstrip() != name or " " in name or "\t" in name:
                raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
            lines.append(line)
    return lines


def add_environment(body: Body, args: Arguments, settings: Settings) -> None:
    lines = read_pairs(args.list("env-file"))
    body["Env"] = environment([*lines, *args.list("env")], settings, args)


def add_labels(body: Body, args: Arguments, _settings: Settings) -> None:
    body["Labels"] = pairs([*read_pairs(args.list("label-file")), *labels(args)])


def add_log(body: Body, args: Arguments, _settings: Settings) -> None:
    options = pairs(args.list("log-opt"))
    if args.text("log-driver") == "none" and options:
        raise ValueError("invalid logging opts for driver none")
    part(body, "HostConfig")["LogConfig"] = {"Type": args.text("log-driver"), "Config": options}


def add_health(body: Body, args: Arguments, _settings: Settings) -> None:
    """The check of --health-*, or none at all."""
    timing = {"Interval": "health-interval", "Timeout": "health-timeout", "Retries": "health-retries",
              "StartPeriod": "health-start-period", "StartInterval": "health-start-interval"}
    check: Body = {}
    if args.given("health-cmd"):
        check["Test"] = ["CMD-SHELL", args.text("health-cmd")]
    for field, option in timing.items():
        if args.given(option):
            value = args.number(option) or 0
            if value < 0:
                raise ValueError(f"--{option} cannot be negative")
            check[field] = value
    if args.flag("no-healthcheck"):
        if check:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        check = {"Test": ["NONE"]}
    body["Healthcheck"] = check


def add_security(body: Body, args: Arguments, _settings: Settings) -> None:
    """Security options; a seccomp profile is read here and sent as text."""
    host = part(body, "HostConfig")
    result = []
    for value in args.list("security-opt"):
        mark = "=" if "=" in value else ":"
        key, found, text = value.partition(mark)
        if not found and value != "no-new-privileges":
            raise ValueError(f'Invalid --security-opt: "{value}"')
        if key == "systempaths" and text == "unconfined":
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
            continue
        if key == "seccomp" and text not in ("unconfined", "builtin"):
            value = f"seccomp={_read_profile(text)}"
        result.append(value)
    host["SecurityOpt"] = result


def _read_profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"))
    except OSError as error:
        raise ValueError(f"opening seccomp profile ({path}) failed: open {path}: "
                         f"{(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {_json_problem(error)}") from None


def _json_problem(error: ValueError) -> str:
    """The most frequent of Python's complaints in Go's words."""
    import json

    if isinstance(error, json.JSONDecodeError) and error.msg == "Expecting value":
        found = error.doc[error.pos:error.pos + 1]
        return (f"invalid character '{found}' looking for beginning of value" if found
                else "unexpected end of JSON input")
    return str(error)


def add_volumes(body: Body, args: Arguments, _settings: Settings) -> None:
    """`[source:]target[:options]`; without a source it is an anonymous volume."""
    binds = []
    for value in args.list("volume"):
        if not value:
            raise ValueError("invalid empty volume spec")
        if not all(value.split(":")):
            raise ValueError(f"invalid spec: {value}: empty section between colons")
        if value.count(":") > 2:
            raise ValueError(f"invalid spec: {value}: too many colons")
        source, mark, rest = value.partition(":")
        if not mark:
            body.setdefault("Volumes", {})[value] = {}
            continue
        if source.startswith("."):  # a folder here; a bare word is a volume's name
            source = os.path.abspath(source)
        binds.append(f"{source}:{rest}")
    if binds:
        part(body, "HostConfig")["Binds"] = binds


def mounts(values: list[str]) -> list[Body]:
    from kist.cli.mount_values import mount

    return [mount(value) for value in values]


def add_ports(body: Body, args: Arguments, _settings: Settings) -> None:
    from kist.cli.port_values import exposed, published

    ports, bindings = published(args.list("publish"))
    body["ExposedPorts"] = {port: {} for port in [*exposed(args.list("expose")), *ports]}
    if bindings:
        part(body, "HostConfig")["PortBindings"] = bindings


def add_networks(body: Body, args: Arguments, _settings: Settings) -> None:
    from kist.cli.network_values import networks

    mode, endpoints = networks(args)
    if mode:
        part(body, "HostConfig")["NetworkMode"] = mode
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
