"""`-p` and `--expose` → ports of the container, and where the host publishes them.

    -p [[address]:][host port[-last]:]container port[-last][/protocol]      ports and ranges of equal length
    -p published=8080,target=80,protocol=udp                                the long form
"""

from __future__ import annotations

from kist.cli.container_values import csv_fields, is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    Bindings = dict[str, list[dict[str, str]]]

PROTOCOLS = ("tcp", "udp", "sctp")


def exposed(values: list[str]) -> list[str]:
    """`["80", "7-8/udp"]` → `["80/tcp", "7/udp", "8/udp"]`."""
    result = []
    for value in values:
        if ":" in value:
            raise ValueError(f"invalid port format for --expose: {value}")
        ports, protocol = _protocol(value)
        wrong = f"invalid range format for --expose: {ports}, error: "
        first, last = _range(ports, wrong + _what_is_wrong(ports))
        result += [f"{port}/{protocol}" for port in range(first, last + 1)]
    return result


def _what_is_wrong(ports: str) -> str:
    first, mark, last = ports.partition("-")
    for text in (first, last) if mark else (first,):
        if not text.isdigit():
            return f'strconv.ParseUint: parsing "{text}": invalid syntax'
        if int(text) > 65535:
            return f'strconv.ParseUint: parsing "{text}": value out of range'
    return f"invalid range specified for port: {ports}"


def published(values: list[str]) -> tuple[list[str], Bindings]:
    """The container's ports, and for each where it is published."""
    bindings: Bindings = {}
    for value in values:
        for port, address, host in _one(_short(value) if "=" in value else value):
            target = {"HostPort": host}
            if address:
                target["HostIp"] = address
            known = bindings.setdefault(port, [])
            if target not in known:
                known.append(target)
    return list(bindings), bindings


def _short(value: str) -> str:
    """The long form as the short one."""
    words = {"protocol": "tcp", "published": "", "host_ip": ""}
    for field in csv_fields(value):
        key, _, text = field.partition("=")
        key = {"dst": "target", "src": "published"}.get(key.strip().lower(), key.strip().lower())
        if key not in ("target", "published", "protocol", "mode", "host_ip"):
            raise ValueError(f"invalid field key {key}")
        words[key] = text.strip()
    if "target" not in words:
        raise ValueError("target port is required")
    return f"{words['published']}:{words['target']}/{words['protocol']}"


def _one(value: str) -> list[tuple[str, str, str]]:
    """[(port/protocol, host address, host port)] of one short form."""
    text, protocol = _protocol(value)
    address, host, ports = _split(text, value)
    if not ports:
        raise ValueError(f"no port specified: {value}<empty>")
    if address and not is_address(address):
        raise ValueError(f"invalid IP address: {address}")
    first, last = _range(ports, f"invalid containerPort: {ports}")
    if not host:
        return [(f"{port}/{protocol}", address, "") for port in range(first, last + 1)]
    start, end = _range(host, f"invalid hostPort: {host}")
    if end - start != last - first:
        if first != last:
            raise ValueError(f"invalid ranges specified for container and host Ports: {ports} and {host}")
        return [(f"{first}/{protocol}", address, host)]  # one port, somewhere in a range
    return [(f"{port}/{protocol}", address, str(start + port - first)) for port in range(first, last + 1)]


def _split(text: str, value: str) -> tuple[str, str, str]:
    """(address, host port, container port)"""
    if text.startswith("["):
        address, mark, rest = text[1:].partition("]:")
        if not mark:
            raise ValueError(f"invalid IP address: {value}")
        host, mark, ports = rest.rpartition(":")
        return address, host, ports
    rest, _, ports = text.rpartition(":")
    address, _, host = rest.rpartition(":")
    return address, host, ports


def _protocol(value: str) -> tuple[str, str]:
    ports, mark, protocol = value.partition("/")
    protocol = protocol.lower() if mark else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    return ports, protocol


def _range(text: str, problem: str) -> tuple[int, int]:
    first, mark, last = text.partition("-")
    last = last if mark else first
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last) <= 65535):
        raise ValueError(problem)
    return int(first), int(last)
