"""Published ports: what was asked for, and the host's ports that are held for it.

A port is held by a socket that is bound to it and never listens: so a program of the host that wants the
same port is told, as it would be by any other program, and so are we. Packets never reach that socket, the
packet filter translates their addresses before. What does get there (IPv6 to a container without IPv6) is
refused by the kernel at once, as it should be.
"""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kist.engine.network.model import Network, Port
from kist.errors import EngineFailure, InvalidParameter

PROTOCOLS = {
    "tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
EPHEMERAL = range(49153, 65536)  # RFC 6335, section 6
EVERYWHERE = {4: "0.0.0.0", 6: "::"}
_UNKNOWN_PROTOCOL = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT)


_Held = tuple[Port, list[socket.socket]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A container's port and where it is to be published. `first`..`last`: the first free one of these
    is taken; 0: any free port."""

    proto: str
    port: int
    host_ip: str
    first: int = 0
    last: int = 0


def parse_port(text: str) -> tuple[int, str]:
    """`80/tcp` (or `80`) as (80, "tcp")."""
    number, _, proto = text.partition("/")
    proto = proto.lower() or "tcp"
    if proto not in PROTOCOLS:
        raise InvalidParameter(f"invalid proto: {proto}")
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise InvalidParameter(f"invalid containerPort: {number}")
    return int(number), proto


def parse_range(text: str) -> tuple[int, int]:
    """`8080` or `8000-8010` as (first, last); "" and "0" are (0, 0)."""
    first, _, last = text.partition("-")
    if not text:
        return 0, 0
    if not first.isdecimal() or not (last or first).isdecimal():
        raise InvalidParameter(f"invalid port specification: {text!r}")
    low, high = int(first), int(last or first)
    if high < low or high > 65535 or (low == 0 and high):
        raise InvalidParameter(f"invalid port specification: {text!r}")
    return low, high


def wanted_ports(
    bindings: Mapping[str, list[Mapping[str, Any]] | None] | None, exposed: Iterable[str] = (), *,
    publish_all: bool = False,
) -> list[Wanted]:
    """The API's `HostConfig.PortBindings`, and with `publish_all` every exposed port not mentioned there."""
    found: list[Wanted] = []
    asked = dict(bindings or {})
    if publish_all:
        asked = {**{name: [{}] for name in exposed}, **asked}
    for name, places in sorted(asked.items(), key=lambda item: parse_port(item[0])):
        port, proto = parse_port(name)
        for place in places or [{}]:
            host_ip = str(place.get("HostIp") or "")
            if host_ip:
                _check_address(host_ip)
            found.append(Wanted(proto, port, host_ip, *parse_range(str(place.get("HostPort") or ""))))
    # Fixed ports first, then ranges, so that a chosen one doesn't take what another binding names.
    return sorted(found, key=lambda one: (one.first == 0, one.first != one.last))


def bound(wanted: Sequence[Wanted], network: Network) -> list[Wanted]:
    """Ports without an address of the host are published at the one that the network's option names, if any (IPv4 only
    then, as with Docker)."""
    address = network.option("host_binding_ipv4")
    if not address or address in EVERYWHERE.values():
        return list(wanted)
    return [one if one.host_ip else replace(one, host_ip=address) for one in wanted]


def _check_address(host_ip: str) -> None:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host_ip else socket.AF_INET, host_ip)
    except OSError:
        raise InvalidParameter(f"invalid IP address: {host_ip}") from None


class HostPorts:
    """The ports of the host that are held for containers."""

    def __init__(self, protocols: Mapping[str, tuple[int, int]] = PROTOCOLS, *, most: int | None = None) -> None:
        """`protocols`: how their sockets are made (type, protocol). `most`: so many may be held together; as a rule
        half of the files that this process may open, for an image that exposes every port (and ``-P``) would else leave
        none to talk to clients with."""
        self._protocols = protocols
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 if most is None else most
        self._held: dict[str, list[_Held]] = {}
        self._count = 0  # sockets

    def hold(self, owner: str, wanted: Iterable[Wanted], *, ipv4: bool, ipv6: bool,
             routed: Sequence[int] = ()) -> list[Port]:
        """Hold what `owner` wants, all or nothing. EngineFailure, in Docker's words, where that can't be. Families
        (4, 6) that are `routed` take no port of the host."""
        try:
            return [port for one in wanted for port in self._hold(owner, one, ipv4=ipv4, ipv6=ipv6, routed=routed)]
        except BaseException:
            self.let_go(owner)
            raise

    def change(self, owner: str, wanted: Iterable[Wanted], *, ipv4: bool, ipv6: bool) -> list[Port]:
        """Hold what `owner` wants from now on in place of what it has, all or nothing. What stays, stays bound."""
        left = self._held.pop(owner, [])
        kept: list[tuple[Port, _Held]] = []
        missing: list[Wanted] = []
        for one in wanted:
            found = _staying(one, left, _places(one.host_ip, ipv4=ipv4, ipv6=ipv6))
            left = [entry for entry in left if entry not in found]
            kept += [(Port(one.proto, one.port, entry[0].host_ip, entry[0].host_port), entry) for entry in found]
            missing += [] if found else [one]
        self._close(left)
        try:
            self.hold(owner, missing, ipv4=ipv4, ipv6=ipv6)
        except BaseException:
            self._held[owner] = [entry for _, entry in kept]
            self.take_back(owner, [port for port, _ in left])
            raise
        self._held[owner] = [(port, sockets) for port, (_, sockets) in kept] + self._held.get(owner, [])
        return [port for port, _ in self._held[owner]]

    def take_back(self, owner: str, ports: Iterable[Port]) -> None:
        """Hold again what an earlier server held. A port that a program of the host took meanwhile is left
        to it: the packet filter still sends connections from outside to the container."""
        for port in ports:
            if not port.host_port:
                continue
            try:
                sockets, _ = self._one(port.proto, port.host_ip, port.host_port)
            except EngineFailure:
                sockets = []
            self._held.setdefault(owner, []).append((port, sockets))

    def let_go(self, owner: str) -> list[Port]:
        held = self._held.pop(owner, [])
        self._close(held)
        return [port for port, _ in held]

    def close(self) -> None:
        for owner in list(self._held):
            self.let_go(owner)

    def _hold(self, owner: str, wanted: Wanted, *, ipv4: bool, ipv6: bool, routed: Sequence[int]) -> list[Port]:
        places = _places(wanted.host_ip, ipv4=ipv4, ipv6=ipv6)
        own = [place for place in places if (6 if ":" in place else 4) in routed]
        if own:
            places = [place for place in places if place not in own]
            open_ = [Port(wanted.proto, wanted.port, EVERYWHERE[6 if ":" in place else 4], 0) for place in own]
            return open_ + (self._take(owner, wanted, places) if places else [])
        return self._take(owner, wanted, places)

    def _take(self, owner: str, wanted: Wanted, places: list[str]) -> list[Port]:
        failure: EngineFailure | None = None
        for candidate in range(wanted.first, wanted.last + 1):
            try:
                return self._bind(owner, wanted, places, candidate)
            except EngineFailure as error:
                failure = error
        raise failure or EngineFailure("no port to publish")

    def _bind(self, owner: str, wanted: Wanted, places: list[str], number: int) -> list[Port]:
        """The same port number at all places (an IPv4 and an IPv6 address, say)."""
        sockets: list[_Held] = []
        try:
            for place in places:
                bound, number = self._one(wanted.proto, place, number)
                sockets.append((Port(wanted.proto, wanted.port, place, number), bound))
        except BaseException:
            self._close(sockets)
            raise
        self._held.setdefault(owner, []).extend(sockets)
        return [port for port, _ in sockets]

    def _one(self, proto: str, host_ip: str, number: int) -> tuple[list[socket.socket], int]:
        kind, protocol = self._protocols[proto]
        family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
        place = f"[{host_ip}]" if family == socket.AF_INET6 else host_ip
        if self._count >= self._most:
            raise EngineFailure(f"too many published ports: {self._count} are held, half of the files that the server "
                                "may open (ulimit -n)")
        try:
            one = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            if error.errno in _UNKNOWN_PROTOCOL:  # SCTP is a module: the packet filter can still translate it
                return [], self._unbound(proto, host_ip, number, place)
            raise EngineFailure(f"failed to bind host port for {place}:{number}/{proto}: "
                                f"{(error.strerror or str(error)).lower()}") from None
        try:
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            one.bind((host_ip, number))
        except OSError as error:
            one.close()
            if error.errno == errno.EADDRINUSE and self._is_ours(proto, host_ip, number):
                raise EngineFailure(f"Bind for {place}:{number} failed: port is already allocated") from None
            reason = (error.strerror or str(error)).lower()
            raise EngineFailure(f"failed to bind host port for {place}:{number}/{proto}: {reason}") from None
        self._count += 1
        return [one], one.getsockname()[1]

    def _close(self, held: Iterable[_Held]) -> None:
        for _, sockets in held:
            for one in sockets:
                one.close()
                self._count -= 1

    def _unbound(self, proto: str, host_ip: str, number: int, place: str) -> int:
        """A port that no socket can hold: it must not be another container's. 0: any that is nobody's."""
        free = (one for one in EPHEMERAL if not self._is_ours(proto, host_ip, one))
        number = number or next(free, EPHEMERAL[0])
        if self._is_ours(proto, host_ip, number):
            raise EngineFailure(f"Bind for {place}:{number} failed: port is already allocated")
        return number

    def _is_ours(self, proto: str, host_ip: str, number: int) -> bool:
        return any(
            port.proto == proto and port.host_port == number and (
                port.host_ip == host_ip or host_ip in EVERYWHERE.values() or port.host_ip in EVERYWHERE.values()
            )
            for held in self._held.values() for port, _ in held
        )


def _staying(wanted: Wanted, held: list[_Held], places: list[str]) -> list[_Held]:
    """Those of `held` that are what is wanted: one number at all places, for this port of the container if any
    number would do, for whichever else."""
    entries = [entry for entry in held if entry[0].proto == wanted.proto and entry[0].host_ip in places
               and (entry[0].port == wanted.port if not wanted.first
                    else wanted.first <= entry[0].host_port <= wanted.last)]
    for number in sorted({entry[0].host_port for entry in entries}):
        found = [entry for entry in entries if entry[0].host_port == number]
        if sorted(entry[0].host_ip for entry in found) == sorted(places):
            return found
    return []


def _places(host_ip: str, *, ipv4: bool, ipv6: bool) -> list[str]:
    if host_ip:
        family = 6 if ":" in host_ip else 4
        if not (ipv6 if family == 6 else ipv4):
            raise EngineFailure(f"cannot publish a port on {host_ip}: the container has no IPv{family} address")
        return [host_ip]
    return [EVERYWHERE[family] for family, present in ((4, ipv4), (6, ipv6)) if present]
