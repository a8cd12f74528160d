"""The server's configuration: defaults, the TOML file, and the options above it.

docs/configuration.md shows the file with every key of `_KEYS` (a test holds it to that), their meaning and defaults.
Unknown keys are refused: a misspelt limit must not silently be no limit.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any

from kist.errors import InvalidParameter
from kist.registry.settings import ClientConfig, Proxies, RegistrySettings

DEFAULT_PATH = "/etc/kist/config.toml"
LOG_DRIVERS = ("json-file", "local", "none")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_IFNAME = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that the engine and the server need to be told (sizes in bytes, times in seconds)."""

    data: str = "/var/lib/kist"
    run: str = "/run/kist"
    socket: str = ""  # empty: <run>/kist.sock
    cgroup_parent: str = "/kist"
    cpu_rt_period: int = 0  # µs; 0: the kernel's own
    cpu_rt_runtime: int = 0  # µs; 0: containers can't be given any
    debug: bool = False
    stop_timeout: int = 10
    shm_size: int = 64 << 20
    bridge: str = "kist0"
    subnet: str = "10.88.0.0/16"
    ipv6: bool = False  # the default network, too
    icc: bool = True  # containers on the default network may talk to each other
    subnet6: str = ""  # empty: one of the unique local range
    nft_table: str = "kist"
    pools: tuple[tuple[str, int], ...] = ()  # (subnet, prefix length of a part); none: the usual ones
    ports_bypass_input_rules: bool = False
    host_gateway_ips: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    log_driver: str = "json-file"
    log_max_size: int = 20 << 20
    log_max_file: int = 5
    log_compress: bool = False
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    certificates: tuple[str, ...] = ("/etc/kist/certs.d", "/etc/docker/certs.d")
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    storage_driver: str = "overlay"
    storage_max: int = 0  # 0: as much as there is
    hub_url: str = ""
    hub_library: tuple[str, ...] = ("busybox", "debian", "hello-world", "nginx", "node", "postgres", "python", "redis")

    def __post_init__(self) -> None:
        if not self.socket:
            object.__setattr__(self, "socket", os.path.join(self.run, "kist.sock"))
        for name in ("data", "run", "socket", "cgroup_parent"):
            if not os.path.isabs(getattr(self, name)):
                raise InvalidParameter(f"invalid configuration: {name} must be an absolute path")
        _check(self)
        self.proxies  # noqa: B018 - raises for what is no proxy

    @classmethod
    def load(cls, path: str | None = None, **options: Any) -> Config:
        """The configuration from a file (the default one may be missing) with options above it.

        Options whose value is None are not set. Raises InvalidParameter that names the file and the key.
        """
        given = {name: value for name, value in options.items() if value is not None}
        return replace(cls(**_read(path)), **_moved_socket(given))

    def with_environment(self, environment: Mapping[str, str]) -> Config:
        """What the usual variables say about proxies, where the configuration says nothing."""
        def said(name: str) -> str:
            return environment.get(name.upper()) or environment.get(name) or ""

        return replace(self, http_proxy=self.http_proxy or said("http_proxy"),
                       https_proxy=self.https_proxy or said("https_proxy"), no_proxy=self.no_proxy or said("no_proxy"))

    @property
    def proxies(self) -> Proxies:
        return Proxies(self.http_proxy, self.https_proxy, self.no_proxy)

    # The places below data and run; `engine` and `server` ask for them here only.
    @property
    def containers_dir(self) -> str:
        return os.path.join(self.data, "containers")

    @property
    def containers_run_dir(self) -> str:
        return os.path.join(self.run, "containers")

    @property
    def volumes_dir(self) -> str:
        return os.path.join(self.data, "volumes")

    @property
    def seccomp_cache(self) -> str:
        return os.path.join(self.data, "seccomp")


def parse_size(text: str | int) -> int:
    """Bytes from ``20m``, ``1.5GiB`` or a plain number."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidParameter(f"invalid size: {text!r}")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _moved_socket(options: dict[str, Any]) -> dict[str, Any]:
    """A moved run directory takes the default socket along."""
    return {"socket": "", **options} if "run" in options and not options.get("socket") else options


def _check(config: Config) -> None:
    if not _IFNAME.fullmatch(config.bridge):
        raise InvalidParameter(f"invalid configuration: network.bridge: {config.bridge!r}")
    if not _WORD.fullmatch(config.nft_table):
        raise InvalidParameter(f"invalid configuration: network.nft-table: {config.nft_table!r}")
    if config.log_driver not in LOG_DRIVERS:
        raise InvalidParameter(f"invalid configuration: log.driver must be one of {', '.join(LOG_DRIVERS)}")
    if config.log_max_file < 1 or config.log_max_size < 4096:
        raise InvalidParameter("invalid configuration: log.max-file is at least 1, log.max-size at least 4k")
    try:
        ip_network(config.subnet)
        if config.subnet6 and not 8 <= IPv6Network(config.subnet6).prefixlen <= 112:
            raise ValueError(f"subnet6: {config.subnet6} has no room for a network")
        for server in config.dns:
            ip_address(server)
    except ValueError as error:
        raise InvalidParameter(f"invalid configuration: network: {error}") from None


# TOML key (section, key) -> (field, converter). One table so that a new setting is one line.
def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("expected a number")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of strings")
    return tuple(value)


def _addresses(value: Any) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(one)) for one in _texts(value))
    except ValueError:
        raise ValueError("expected a list of IP addresses") from None


def _pools(value: Any) -> tuple[tuple[str, int], ...]:
    """`10.89.0.0/16/24`: the /24s of 10.89.0.0/16."""
    found = []
    for text in _texts(value):
        subnet, _, part = text.rpartition("/")
        if not part.isdecimal() or not ip_network(subnet).prefixlen <= int(part) <= 29:
            raise ValueError("expected subnets with the parts' prefix length, such as 10.89.0.0/16/24")
        found.append((subnet, int(part)))
    return tuple(found)


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except (InvalidParameter, AttributeError):
        raise ValueError("expected a size such as 20m") from None


_KEYS: dict[tuple[str, str], tuple[str, Any]] = {
    ("", "data"): ("data", _text),
    ("", "run"): ("run", _text),
    ("", "socket"): ("socket", _text),
    ("", "cgroup-parent"): ("cgroup_parent", _text),
    ("", "cpu-rt-period"): ("cpu_rt_period", _number),
    ("", "cpu-rt-runtime"): ("cpu_rt_runtime", _number),
    ("", "certificates"): ("certificates", _texts),
    ("", "debug"): ("debug", _flag),
    ("", "stop-timeout"): ("stop_timeout", _number),
    ("", "shm-size"): ("shm_size", _size),
    ("network", "bridge"): ("bridge", _text),
    ("network", "subnet"): ("subnet", _text),
    ("network", "ipv6"): ("ipv6", _flag),
    ("network", "icc"): ("icc", _flag),
    ("network", "subnet6"): ("subnet6", _text),
    ("network", "nft-table"): ("nft_table", _text),
    ("network", "pools"): ("pools", _pools),
    ("network", "ports-bypass-input-rules"): ("ports_bypass_input_rules", _flag),
    ("network", "host-gateway-ips"): ("host_gateway_ips", _addresses),
    ("network", "dns"): ("dns", _texts),
    ("network", "dns-search"): ("dns_search", _texts),
    ("network", "dns-options"): ("dns_options", _texts),
    ("log", "driver"): ("log_driver", _text),
    ("log", "max-size"): ("log_max_size", _size),
    ("log", "max-file"): ("log_max_file", _number),
    ("log", "compress"): ("log_compress", _flag),
    ("proxies", "http-proxy"): ("http_proxy", _text),
    ("proxies", "https-proxy"): ("https_proxy", _text),
    ("proxies", "no-proxy"): ("no_proxy", _text),
    ("storage", "driver"): ("storage_driver", _text),
    ("storage", "max"): ("storage_max", _size),
    ("hub", "url"): ("hub_url", _text),
    ("hub", "library"): ("hub_library", _texts),
}
_SECTIONS = {section for section, _ in _KEYS if section}


def _read(path: str | None) -> dict[str, Any]:
    try:
        with open(path or DEFAULT_PATH, "rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        if path is None:
            return {}
        raise InvalidParameter(f"configuration file {path}: no such file") from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidParameter(f"configuration file {path or DEFAULT_PATH}: {error}") from None
    try:
        return parse(table)
    except InvalidParameter as error:
        raise InvalidParameter(f"configuration file {path or DEFAULT_PATH}: {error}") from None


def parse(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Config that a decoded TOML document sets."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key == "registries":
            found["registries"] = ClientConfig.from_mapping(_tables(value)).registries
        elif key in _SECTIONS and isinstance(value, dict):
            for name, inner in value.items():
                _set(found, key, name, inner)
        else:
            _set(found, "", key, value)
    return found


def _tables(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise InvalidParameter("registries: expected a table per registry host")
    return value


def _set(found: dict[str, Any], section: str, key: str, value: Any) -> None:
    where = f"{section}.{key}" if section else key
    try:
        name, convert = _KEYS[section, key]
    except KeyError:
        raise InvalidParameter(f"{where}: unknown key") from None
    try:
        found[name] = convert(value)
    except ValueError as error:
        raise InvalidParameter(f"{where}: {error}") from None
