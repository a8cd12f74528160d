"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container. Pure: words in, text out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kist.errors import InvalidParameter

Json = dict[str, Any]
_LOOPBACK = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
DEFAULT_DNS = ("8.8.8.8", "8.8.4.4")  # Docker's, for a host whose own servers are all on its loopback


def hosts(*, ip: str, hostname: str, domain: str, extra: Iterable[str], gateway: str) -> str:
    """`extra`: `--add-host name:ip` (also name=ip), where ip may be `host-gateway`."""
    lines = [_LOOPBACK]
    for entry in extra:
        name, address = split_extra_host(entry)
        lines.append(f"{gateway if address == 'host-gateway' else address}\t{name}\n")
    if ip:
        full = f"{hostname}.{domain} {hostname}" if domain else hostname
        lines.append(f"{ip}\t{full}\n")
    return "".join(lines)


def split_extra_host(entry: str) -> tuple[str, str]:
    separator = "=" if "=" in entry else ":"
    name, _, address = entry.partition(separator)
    if not name or not address:
        raise InvalidParameter(f'bad format for add-host: "{entry}"')
    return name, address.strip("[]")


def resolv_conf(of_host: str, *, servers: Iterable[str], search: Iterable[str], options: Iterable[str],
                private: bool) -> str:
    """The host's file with what is given put in its place. In a private network namespace (`private`) servers
    on the host's loopback can't be reached and are left out."""
    words = [line.split() for line in of_host.splitlines()]
    found = list(servers) or [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"
                              and not (private and _is_loopback(w[1]))]
    if not found and private:
        found = list(DEFAULT_DNS)
    searches = list(search) or next((w[1:] for w in reversed(words) if w and w[0] in ("search", "domain")), [])
    opts = list(options) or next((w[1:] for w in reversed(words) if w and w[0] == "options"), [])
    lines = [f"nameserver {server}" for server in found]
    if searches and searches != ["."]:
        lines.append("search " + " ".join(searches))
    if opts:
        lines.append("options " + " ".join(opts))
    return "\n".join(lines) + "\n"


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"
