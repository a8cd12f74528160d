"""What a client is told about registries: mirrors, certificates, proxies, patience (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kist.errors import InvalidParameter
from kist.registry.protocol import DOCKER_HUB, Endpoint, api_host, mirror_endpoint


@dataclass(frozen=True)
class RegistrySettings:
    """One registry's part of the configuration."""

    mirrors: tuple[str, ...] = ()  # URLs with scheme, asked in this order before the registry itself
    insecure: bool = False  # TLS without verification, and plain HTTP
    ca: str | None = None  # PEM file that is trusted besides the system's
    cert: str | None = None  # client certificate, PEM
    key: str | None = None  # its key, PEM; may be within ``cert``
    proxy: str | None = None  # URL; "" to go straight, None for what the server's ``[proxies]`` say
    more_cas: tuple[str, ...] = ()  # of a folder of certificates (`certificates`)


@dataclass(frozen=True)
class Proxies:
    """As the configuration or the usual environment variables say (those are read in ``__main__``, never here)."""

    http: str = ""
    https: str = ""
    no_proxy: str = ""

    def __post_init__(self) -> None:
        for url in (self.http, self.https):
            proxy_address(url)

    def url_for(self, scheme: str, host: str) -> str | None:
        """The proxy for a request to ``host`` (with port), None to go straight."""
        proxy = self.https if scheme == "https" else self.http
        return proxy_address(proxy) if proxy and not bypasses(self.no_proxy, host) else None

    def __repr__(self) -> str:
        return f"Proxies(http={without_password(self.http)!r}, https={without_password(self.https)!r}, …)"


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. A body that comes slower than ``slowest`` bytes a second on average
    over ``window`` seconds is given up, however steadily it drips."""

    connect: float = 15.0
    read: float = 60.0
    head: float = 60.0  # until the whole head of an answer is there
    small_body: float = 60.0  # manifests, tokens, errors
    window: float = 60.0
    slowest: int = 128
    retries: int = 5  # in a row, without a new byte between them
    pause: float = 0.2  # before the first retry; doubles
    repeats: int = 2  # of a request that got 429, 502, 503 or 504
    longest_wait: float = 30.0  # that a registry may ask for (Retry-After); for longer ones it is an error


@dataclass(frozen=True)
class ClientConfig:
    """Everything a RegistryClient needs to know. ``registries`` is keyed by the host as users write it."""

    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    proxies: Proxies = field(default_factory=Proxies)
    patience: Patience = field(default_factory=Patience)
    user_agent: str = "kist"
    certificates: tuple[str, ...] = ()  # folders like /etc/docker/certs.d, see `certificates`

    @classmethod
    def from_mapping(
        cls, registries: Mapping[str, Mapping[str, object]], *, proxies: Proxies | None = None,
        user_agent: str = "kist",
    ) -> ClientConfig:
        """From the server's configuration: ``{host: {"mirrors": […], "insecure": bool, "ca": path}}``."""
        parsed = {host: _registry(host, table) for host, table in registries.items()}
        return cls(parsed, proxies or Proxies(), user_agent=user_agent)

    def settings(self, host: str) -> RegistrySettings:
        for name in (host, DOCKER_HUB if host == api_host(DOCKER_HUB) else host):
            if name in self.registries:
                return self.registries[name]
        return RegistrySettings()

    def proxy(self, scheme: str, host: str) -> str | None:
        """The proxy's URL for requests to ``host`` (with port), None to go straight."""
        own = self.settings(host).proxy
        return self.proxies.url_for(scheme, host) if own is None else proxy_address(own) or None

    def insecure(self, host: str) -> bool:
        """Configured so, or on this machine's loopback (as Docker has it), unless a CA is configured for it."""
        settings = self.settings(host)
        return settings.insecure or (is_loopback(host) and settings.ca is None and not settings.more_cas)

    def endpoints(self, host: str) -> tuple[Endpoint, ...]:
        """Where to ask for ``host``'s content, in order: mirrors, the registry, the registry without TLS."""
        mirrors = tuple(mirror_endpoint(url) for url in self.settings(host).mirrors)
        real = api_host(host)
        upstream = (Endpoint(f"https://{real}"),)
        return mirrors + upstream + ((Endpoint(f"http://{real}"),) if self.insecure(host) else ())


_KEYS = frozenset({"mirrors", "insecure", "ca", "cert", "key", "proxy"})


def _registry(host: str, table: Mapping[str, object]) -> RegistrySettings:
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise InvalidParameter(f'registries."{host}": unknown key "{unknown[0]}"')
    mirrors = table.get("mirrors", ())
    if not isinstance(mirrors, list | tuple) or not all(isinstance(url, str) for url in mirrors):
        raise InvalidParameter(f'registries."{host}".mirrors must be a list of URLs')
    for url in mirrors:
        mirror_endpoint(url)
    insecure = table.get("insecure", False)
    if not isinstance(insecure, bool):
        raise InvalidParameter(f'registries."{host}".insecure must be true or false')
    paths = {key: table.get(key) for key in ("ca", "cert", "key")}
    for key, path in paths.items():
        if path is not None and not isinstance(path, str):
            raise InvalidParameter(f'registries."{host}".{key} must be a path')
    proxy = table.get("proxy")
    if proxy is not None and not isinstance(proxy, str):
        raise InvalidParameter(f'registries."{host}".proxy must be a URL')
    proxy_address(proxy or "")
    ca, cert, own_key = (str(path) if path else None for path in paths.values())
    return RegistrySettings(tuple(mirrors), insecure, ca, cert, own_key, proxy)


def proxy_address(url: str) -> str:
    """A proxy as a URL with its scheme (http where none is written, as curl and Go have it)."""
    if not url:
        return ""
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:
        raise InvalidParameter(f"invalid proxy: {without_password(url)}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidParameter(f"invalid proxy: {without_password(url)}: expected http://host:port")
    return full


def without_password(url: str) -> str:
    """A proxy's URL for messages and `info`: Docker's word in place of name and password."""
    head, at, rest = url.rpartition("@")
    if not at:
        return url
    scheme, sep, _ = head.rpartition("://")
    return f"{scheme}{sep}xxxxx:xxxxx@{rest}"


def split_port(host: str) -> tuple[str, str]:
    """("127.0.0.1", "5000") of "127.0.0.1:5000"; brackets of IPv6 addresses are taken off."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest.lstrip(":")
    name, _, port = host.partition(":")
    return name, port


def is_loopback(host: str) -> bool:
    name, _ = split_port(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def bypasses(no_proxy: str, host: str) -> bool:
    """Whether the no_proxy list takes ``host`` out (names, .suffixes, addresses, networks, ports, *)."""
    name, port = split_port(host.lower())
    if is_loopback(host):
        return True
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry and (entry == "*" or _matches(entry, name, port)):
            return True
    return False


def _matches(entry: str, name: str, port: str) -> bool:
    if "/" in entry:
        try:
            return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    wanted, wanted_port = split_port(entry)
    if wanted_port and wanted_port != port:
        return False
    wanted = wanted.removeprefix("*").lstrip(".")
    return name == wanted or name.endswith("." + wanted)
