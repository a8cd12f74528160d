"""The files of /etc that a container's network decides: `resolv.conf` and `hosts`. Pure.

Sources: resolv.conf(5), hosts(5); what Docker writes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

# Public resolvers for a host that names none which a container could reach.
FALLBACK = ("1.1.1.1", "8.8.8.8")
HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def resolv_conf(
    host: str, *, upstream: str = "", nameservers: Sequence[str] = (), search: Sequence[str] | None = None,
    options: Sequence[str] = (), ipv6: bool = False, internal: str = "",
) -> str:
    """What a container's /etc/resolv.conf says.

    `host` is the text of the host's file; where that names only resolvers on loopback addresses (a stub such
    as systemd-resolved's), `upstream` (the text of `/run/systemd/resolve/resolv.conf`) is taken instead.
    `nameservers`, `search` (`(".",)`: none at all) and `options` are the user's and replace the host's.
    IPv6 resolvers are left out unless the container has IPv6. `internal` is the address of Kist's own
    resolver in the container ("127.0.0.11"), which then is the only nameserver."""
    text = host if reachable_resolvers(host, ipv6=True) or not upstream else upstream
    servers = list(nameservers) or reachable_resolvers(text, ipv6=ipv6) or list(FALLBACK)
    domains = list(search) if search else _words(text, "search") or _words(text, "domain")
    chosen = list(options) or _words(text, "options")
    lines = [f"nameserver {server}" for server in ([internal] if internal else servers)]
    if domains and domains != ["."]:
        lines.append("search " + " ".join(domains))
    if internal and not any(option.startswith("ndots:") for option in chosen):
        chosen.append("ndots:0")
    if chosen:
        lines.append("options " + " ".join(chosen))
    return "\n".join(lines) + "\n"


def reachable_resolvers(text: str, *, ipv6: bool) -> list[str]:
    """The nameservers of a resolv.conf that another network namespace can reach, in order."""
    found = []
    for word in _all(text, "nameserver"):
        try:
            address = ip_address(word.partition("%")[0])
        except ValueError:
            continue
        # A zone (fe80::1%eth0) names a device that the container doesn't have.
        if address.is_loopback or address.is_unspecified or "%" in word or (address.version == 6 and not ipv6):
            continue
        found.append(word)
    return found


def hosts(addresses: Iterable[str], names: Sequence[str], extra: Iterable[str] = (), *,
          gateways: Sequence[str] = (), linked: Iterable[tuple[str, str]] = ()) -> str:
    """What a container's /etc/hosts says: the user's `extra` entries, `name:address` or `name=address` (the address
    `host-gateway` means all of `gateways`), then (address, names) of the `linked` ones, then its own `addresses` with
    its `names` (host name first), as Docker has it."""
    lines = []
    for entry in extra:
        cut = min((index for index in (entry.find("="), entry.find(":")) if index > 0), default=len(entry))
        name, address = entry[:cut], entry[cut + 1 :].strip("[]")
        meant = gateways if address == "host-gateway" else filter(None, [address])
        lines += [f"{one}\t{name}\n" for one in meant]
    lines += [f"{address}\t{called}\n" for address, called in linked]
    lines += [f"{address}\t{' '.join(names)}\n" for address in addresses if address and names]
    return HOSTS + "".join(lines)


def own_names(name: str, domain: str) -> list[str]:
    """A container's names in its own /etc/hosts: the fully qualified one first, as hosts(5) wants it, then its first
    label (moby: buildHostsFile). Docker leaves out a host name with dots that has a domain besides, so that
    `hostname -f` fails there."""
    full = f"{name}.{domain}" if domain else name
    return list(dict.fromkeys((full, name, full.partition(".")[0])))


def _all(text: str, keyword: str) -> list[str]:
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == keyword:
            found.append(words[1])
    return found


def _words(text: str, keyword: str) -> list[str]:
    """The words of the last line with this keyword (the last one counts, resolv.conf(5))."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == keyword:
            found = words[1:]
    return found
